"""Check a model, and a dictionary for it, before anything is swept.

Says which architecture it is, which hook points it has, if tensors are missing, which positions carry no
features, what is put in front of texts, what the dictionary reads and writes, and how well it fits ten lines
of text: an FVU above 1 means a wrong hook point or another model's dictionary. Of small models one graph is
computed again in float64 by the model's own code. Without a dictionary the model alone is checked. Exit
codes: 0, 1 where there is a problem, 2 where nothing could be checked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.inspection import Finding


@dataclass(frozen=True)
class Options:
    """Arguments of the command line."""

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """A folder, `name[@revision]` on the Hub, `demo` or `english`."""

    transcoders: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="TRANSCODERS")]] = None
    """As in a sweep file: a folder, a name on the Hub, a pattern, `neurons`, `demo` or `english`."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)

    text: Path | None = None
    """File with a text a line to try the dictionary on (default: ten lines of English)."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of model and dictionary."""

    device: str | None = None
    """Device to load them to, such as cpu or cuda:1 (default: the GPU if there is one)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings along."""


def main(argv: list[str] | None = None) -> int:
    """Print what was found; 1 if there is a problem."""
    options = parse(Options, argv, "check", __doc__)

    import torch

    from pipeline.builtin import resolve
    from pipeline.inspection import check_model

    transcoders = options.transcoders and resolve(options.transcoders, "transcoders")
    found = []
    for finding in check_model(
        resolve(options.model, "model"),
        transcoders,
        _texts(options.text, options.model),
        getattr(torch, options.dtype),
        options.trust_remote_code,
        _device(options.device),
    ):
        found.append(finding)
        if not options.rows.given:
            _print(finding)
    if options.rows.given:
        import pyarrow as pa

        write_rows(pa.Table.from_pylist([asdict(finding) for finding in found], _schema()), options.rows)
    return int(any(finding.problem for finding in found))


def _device(name: str | None) -> str | None:
    """Refuse the name of a device that is not there."""
    import torch

    from pipeline.errors import ConfigurationError

    if name is None:
        return None
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"--device {name!r} cannot be used ({reason}): give cpu, or cuda:0 where there is a GPU."
        ) from error
    return name


def _schema() -> object:
    import pyarrow as pa

    types = {
        "subject": pa.string(),
        "found": pa.string(),
        "layer": pa.int64(),
        "fvu": pa.float64(),
        "l0": pa.float64(),
        "problem": pa.bool_(),
    }
    return pa.schema(list(types.items()))


def _texts(file: Path | None, model: str) -> list[str]:
    from pipeline.builtin import NAMES, resolve
    from pipeline.errors import ConfigurationError
    from pipeline.inspection import TEXTS

    if file is not None:
        try:
            lines = [line for line in file.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--text {file} cannot be read ({error}): check the path.") from error
        if not lines:
            raise ConfigurationError(f"--text {file} holds no text: write a text a line.")
        return lines
    if model not in NAMES:
        return list(TEXTS)
    import pyarrow.parquet as pq

    return pq.read_table(resolve(model, "prompts"), columns=["prompt"])["prompt"].to_pylist()[:10]


def _print(finding: Finding) -> None:
    from pipeline.untrusted import Console

    subject = finding.subject if finding.layer is None else f"{finding.subject}, layer {finding.layer}"
    mark = "!" if finding.problem else " "
    Console(highlight=False).print(f"{mark} {subject:<18} {finding.found}", markup=False)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
