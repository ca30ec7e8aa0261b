"""Trace a dataset of prompts into tables of attribution graphs.

Exit codes: 0, every prompt has a graph; 1, finished, but some prompts failed (table `failures`); 2, could
not start or go on (a message says why); 130, interrupted. A sweep that ended early is started again by the
same command and does only what is missing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from jobs.cli import run_command
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.sweep_file import check, read_sweep_file, required_keys

FINISHED, SOME_FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class SweepArguments:
    """A sweep on the command line."""

    sweep: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP.yaml")]
    """The sweep file. Every key of it can also be set by the options below, which win."""

    config: Annotated[SweepConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Arguments(SweepArguments):
    """What the command line holds."""

    address: str | None = None
    """Ray cluster to join [default: RAY_ADDRESS, else a Ray of its own on this machine]."""


Parsed = TypeVar("Parsed", bound=SweepArguments)


def main(argv: list[str] | None = None) -> int:
    """Run a sweep and return its exit code."""
    arguments = parse(sys.argv[1:] if argv is None else argv, Arguments, "run", __doc__)

    from rich.console import Console

    from pipeline.store import Output
    from pipeline.sweep.progress import Progress
    from pipeline.sweep.summary import print_summary
    from pipeline.sweep.sweep import run_sweep

    console = Console(stderr=True)
    progress = Progress(console)
    try:
        report = run_sweep(arguments.config, progress, arguments.address)
    except KeyboardInterrupt:
        console.print(
            f"interrupted after {progress.graphs} graphs, which are kept: "
            "run the same command again to do the rest."
        )
        return INTERRUPTED
    print_summary(Console(), Output(arguments.config.output), report)
    return SOME_FAILED if report.failed_prompts else FINISHED


def parse(argv: list[str], kind: type[Parsed], command: str, description: str | None) -> Parsed:
    """Read the sweep file, then let the command line override it.

    Args:
        argv: the command line after the command's name.
        kind: what it holds.
        command: the command's name.
        description: what its help says.

    Raises:
        ConfigurationError: the file is not right. What is wrong on the command line ends the process here.

    """
    path = next((argument for argument in argv if argument.endswith((".yaml", ".yml"))), None)
    path = path or next((argument for argument in argv[:1] if not argument.startswith("-")), None)
    values, lines = read_sweep_file(path) if path is not None else ({}, {})
    config = check(values, str(path), lines, allow_missing=True)
    missing = {key: tyro.MISSING for key in required_keys() if values.get(key) is None}
    if "prompts" in missing:
        missing["prompts"] = config.prompts.model_copy(update={"source": tyro.MISSING})
    default: Any = kind(Path(path) if path else tyro.MISSING, config.model_copy(update=missing))
    return tyro.cli(
        kind, args=argv, default=default, prog=f"circuit-sweep {command}", description=description
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
