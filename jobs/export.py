"""Write graphs as JSON for viewers and GraphML for graph tools, with the features that appear in them.

Viewers are circuit-tracer's (`circuit-tracer start-server --graph_file_dir DIR`) and Neuronpedia.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs.cli import run_command


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    url: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    output: Path
    """Folder that receives the files."""

    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Id of a prompt; may be given several times."""

    where: str | None = None
    """SQL over the table graphs that chooses prompts: "family = 'two_hop' and completeness_score > 0.9"."""

    features: Literal["full", "activations", "none"] = "full"
    """Details to write of each feature: full loads the model for the tokens that it promotes and suppresses;
    activations leaves these out."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings, if the sweep did."""

    at: str | None = None
    """State to export: a published version's number or a date (default: all that is committed now)."""


def main(argv: list[str] | None = None) -> int:
    """Export graphs and return 0."""
    arguments = parse(Arguments, argv, "export", __doc__)

    from pipeline.errors import ConfigurationError
    from pipeline.export import export
    from pipeline.results import Results
    from pipeline.untrusted import Console

    if not arguments.prompt and arguments.where is None:
        raise ConfigurationError("which prompts? Give --prompt ID, or --where SQL for many.")
    results = Results(arguments.url, arguments.at)
    console = Console(highlight=False)
    with console.status("") as status:
        done = export(
            results,
            arguments.output,
            arguments.prompt,
            arguments.where,
            arguments.features,
            status.update,
            arguments.trust_remote_code,
        )
    console.print(
        f"{len(done.graphs):,} graphs and {done.features:,} features in {arguments.output}", soft_wrap=True
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
