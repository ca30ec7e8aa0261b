"""Trace a dataset of prompts into tables of attribution graphs.

Exit codes: 0, every prompt has a graph; 1, finished, but some prompts failed (table `failures`); 2, could
not start or go on (a message says why); 130, interrupted. A sweep that ended early is started again by the
same command and does only what is missing.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from jobs.cli import BAD_INPUT, program, run_command
from pipeline.builtin import resolve
from pipeline.configuration import Section
from pipeline.errors import CircuitSweepError
from pipeline.sweep import SweepConfig, check, read_sweep_file, required_keys

if TYPE_CHECKING:
    from pipeline.runtime import RunReport

INTERRUPTED = 130


@dataclass(frozen=True)
class SweepArguments:
    """A sweep on the command line."""

    sweep: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP.yaml")]
    """The sweep file, or `demo` for the built-in one. Every key of it can also be set by the options below,
    which win."""

    config: Annotated[SweepConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Arguments(SweepArguments):
    """What the command line holds."""

    address: str | None = None
    """Ray cluster to join [default: RAY_ADDRESS, else a Ray of its own on this machine]."""

    log_format: Literal["text", "json"] = "text"
    """`json` writes an object a line to stderr: time, level, event, and the shards and prompts concerned."""


Parsed = TypeVar("Parsed", bound=SweepArguments)


def main(argv: list[str] | None = None) -> int:
    """Run a sweep and return its exit code."""
    arguments = parse(sys.argv[1:] if argv is None else argv, Arguments, "run", __doc__)

    from rich.console import Console

    from pipeline.runtime.telemetry import Progress
    from pipeline.store import Output
    from pipeline.sweep import print_summary, run_sweep

    progress = Progress(Console(stderr=True), as_json=arguments.log_format == "json")
    progress.event("sweep started", output=arguments.config.output)
    try:
        report = run_sweep(arguments.config, progress, arguments.address)
    except KeyboardInterrupt:
        progress.note(
            f"interrupted after {progress.counts.done} graphs, which are kept: "
            "run the same command again to do the rest."
        )
        return INTERRUPTED
    except CircuitSweepError as error:
        if not progress.as_json:
            raise
        progress.event("sweep stopped", "error", message=str(error))
        return BAD_INPUT
    if progress.as_json:
        progress.event("sweep finished", **_figures(report))
    else:
        print_summary(Console(), Output(arguments.config.output), report, program())
    return report.exit_code


def _figures(report: RunReport) -> dict[str, Any]:
    """Return what a report counts, without what is stored with the run anyway."""
    figures = asdict(report)
    counts = figures.pop("counts")
    return counts | {
        name: value for name, value in figures.items() if name not in ("configuration", "repeated_keys")
    }


def parse(argv: list[str], kind: type[Parsed], command: str, description: str | None) -> Parsed:
    """Read the sweep file, then let the command line override it.

    Args:
        argv: the command line after the command's name.
        kind: what it holds.
        command: the command's name.
        description: what its help says.

    Raises:
        ConfigurationError: the file, or a value on the command line, is not right. Options that there are
            not end the process here.

    """
    prog = f"circuit-sweep {command}"
    path = _sweep_path(argv, kind, prog)
    values, lines = read_sweep_file(path) if path is not None else ({}, {})
    config = check(values, str(path), lines, allow_missing=True)
    missing = {key: tyro.MISSING for key in required_keys() if values.get(key) is None}
    if "prompts" in missing:
        missing["prompts"] = config.prompts.model_copy(update={"source": tyro.MISSING})
    default: Any = kind(path or tyro.MISSING, config.model_copy(update=missing))
    parsed = tyro.cli(
        kind, args=argv, default=default, prog=prog, description=description, registry=UNCHECKED
    )
    config = check(parsed.config.model_dump(warnings=False), "command line")
    return replace(parsed, config=config)


def _sweep_path(argv: list[str], kind: type[SweepArguments], prog: str) -> Path | None:
    """Find the sweep file among options, whose values may look like one: by parsing with any defaults."""
    nothing: Any = kind(Path(), check({}, "", allow_missing=True))
    words = [word for word in argv if word not in ("-h", "--help")]  # help waits for the file's values
    path = tyro.cli(kind, args=words, default=nothing, prog=prog, registry=UNCHECKED).sweep
    if path == Path():
        return None
    return Path(resolve(str(path), "sweep"))


UNCHECKED = ConstructorRegistry()
"""Lets tyro put a configuration together without checking it: what is wrong is said as of the sweep file."""


@UNCHECKED.struct_rule
def _unchecked(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not (isinstance(info.type, type) and issubclass(info.type, Section)):
        return None
    kinds = get_type_hints(info.type, include_extras=True)
    fields = tuple(
        StructFieldSpec(name, kinds[name], getattr(info.default, name), field.description)
        for name, field in info.type.model_fields.items()
    )
    return StructConstructorSpec(info.type.model_construct, fields)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
