"""Trace a dataset of prompts into tables of attribution graphs.

Exit codes: 0, every prompt has a graph; 1, finished, but some prompts failed (table `failures`); 2, could
not start or go on (a message says why); 130, interrupted. A sweep that ended early is started again by the
same command and does only what is missing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from jobs._command_line import given, options_of, parse
from jobs.cli import BAD_INPUT, program, run_command
from pipeline.builtin import resolve
from pipeline.errors import CircuitSweepError
from pipeline.sweep import SweepConfig, check, read_sweep_file

if TYPE_CHECKING:
    from pipeline.runtime import RunReport

INTERRUPTED = 130


SweepOptions = options_of(SweepConfig)


@dataclass(frozen=True)
class SweepArguments:
    """A sweep on the command line."""

    sweep: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP.yaml")]
    """The sweep file, or `demo` or `english` for the built-in ones. Every key of it can also be set by the
    options below, which win."""

    options: Annotated[SweepOptions, tyro.conf.arg(name="")]
    """Keys of the sweep file."""


@dataclass(frozen=True)
class Arguments(SweepArguments):
    """Arguments of the command line."""

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray of its own on this machine)."""

    log_format: Literal["text", "json"] = "text"
    """`json` writes an object per line to stderr: time, level, event, shards and prompts concerned."""


Parsed = TypeVar("Parsed", bound=SweepArguments)


def main(argv: list[str] | None = None) -> int:
    """Run a sweep and return its exit code."""
    arguments, config = read_arguments(Arguments, argv, "run", __doc__)

    from jobs._summary import print_summary
    from pipeline.runtime.telemetry import Progress
    from pipeline.store import Output
    from pipeline.sweep import run_sweep
    from pipeline.untrusted import Console

    progress = Progress(Console(stderr=True), as_json=arguments.log_format == "json")
    progress.event("sweep started", output=config.output)
    try:
        report = run_sweep(config, progress, arguments.address)
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
        print_summary(Console(), Output(config.output), report, program())
    return report.exit_code


def _figures(report: RunReport) -> dict[str, Any]:
    """Return what a report counts, without what is stored with the run anyway."""
    figures = asdict(report)
    counts = figures.pop("counts")
    return counts | {
        name: value
        for name, value in figures.items()
        if name not in ("configuration", "repeated_keys", "shared_ids")
    }


def read_arguments(
    kind: type[Parsed], argv: list[str] | None, command: str, description: str | None
) -> tuple[Parsed, SweepConfig]:
    """Parse a command line, and read the sweep file with the command line's values over it.

    Raises:
        ConfigurationError: the file, or a value on the command line, is not right. Options that there are
            not end the process here.

    """
    arguments = parse(kind, argv, command, description)
    path = resolve(arguments.sweep, "sweep")
    values, lines = read_sweep_file(path)
    return arguments, check(values, arguments.sweep, lines, given(arguments.options))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
