"""Audit a model by contrasting prompts: is there a difference, through which features, at what price?

A pack that ships (`--list`) or a YAML file of yours: pairs of words in templates, two lists of words whose
logits are compared, and control prompts. The features that carry a difference are chosen on half of the pairs
and measured on the other. Exit codes: 0, no difference shown; 1, there is one; 2, the audit cannot be made,
such as with a tokenizer that cannot read its words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import writable
from jobs.cli import run_command
from pipeline.errors import ConfigurationError

NOT_SHOWN, SHOWN = 0, 1


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    pack: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PACK")] = None
    """Name of a pack that ships, or a YAML file."""

    model: str = "english"
    """Model to audit: a folder, a name on the Hub, or a built-in one."""

    transcoders: str | None = None
    """Its dictionary (default: the built-in model's own, else `neurons`: those of its MLPs)."""

    list: bool = False
    """List the packs that ship."""

    seed: int = 0
    """Seed of the split of pairs and of the random sets."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings."""

    output: Path | None = None
    """Page to write, .html or .md (default: the report on the screen)."""


def main(argv: list[str] | None = None) -> int:
    """Audit, write or print the report, and return the verdict."""
    arguments = parse(Arguments, argv, "audit", __doc__)

    from pipeline.audit import audit_page, read_pack, run_audit, shipped_packs
    from pipeline.untrusted import Console

    console = Console(highlight=False)
    if arguments.list:
        for name in shipped_packs():
            console.print(f"{name}: {read_pack(name).question}", soft_wrap=True)
        return 0
    if arguments.pack is None:
        raise ConfigurationError(f"which pack? Name a YAML file, or one of {', '.join(shipped_packs())}.")
    if arguments.output is not None and arguments.output.suffix not in (".html", ".md"):
        raise ConfigurationError(f"--output {arguments.output}: a report is .html or .md.")
    pack = read_pack(arguments.pack)

    from pipeline import ReplacementModel
    from pipeline.builtin import NAMES

    built_in = arguments.model if arguments.model in NAMES else "neurons"
    model = ReplacementModel.from_pretrained(
        arguments.model,
        transcoders=arguments.transcoders or built_in,
        trust_remote_code=arguments.trust_remote_code,
        lazy_encoder=True,
    )
    with console.status("") as status:
        found = replace(run_audit(pack, model, status.update, arguments.seed), model=arguments.model)
    page = audit_page(found)
    if arguments.output is None:
        page.print(console)
    else:
        with writable(arguments.output):
            page.write(arguments.output)
        console.print(str(arguments.output), soft_wrap=True)
    return SHOWN if found.found else NOT_SHOWN


if __name__ == "__main__":
    raise SystemExit(run_command(main))
