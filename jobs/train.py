"""Train a dictionary for a model, from text, over all machines there are.

Started again it goes on from the last checkpoint; with more `tokens` from before the learning rate fell.
Exit codes: 0, the dictionary is done; 1, finished, but some layers were given up (their checkpoints are kept,
and a message says why); 2, could not start or go on; 130, interrupted, and what was at work is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import given, options_of, parse
from jobs.cli import BAD_INPUT, INTERRUPTED, program, run_command
from pipeline.errors import CircuitSweepError
from pipeline.readable import clock
from pipeline.training import DICTIONARY_FILE, DictionaryConfig

if TYPE_CHECKING:
    from pipeline.runtime import GangProgress
    from pipeline.training.distributed import TrainingReport

DictionaryOptions = options_of(DictionaryConfig)


@dataclass(frozen=True)
class DictionaryArguments:
    """A dictionary on the command line."""

    dictionary: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DICTIONARY.yaml")]
    """The dictionary's file. Every key of it can also be set by the options below, which win."""

    options: Annotated[DictionaryOptions, tyro.conf.arg(name="")]
    """Keys of the file."""


@dataclass(frozen=True)
class Arguments(DictionaryArguments):
    """Arguments of the command line."""

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray of its own on this machine)."""

    log_format: Literal["text", "json"] = "text"
    """`json` writes an object per line to stderr: time, level, event, the layers concerned."""


def main(argv: list[str] | None = None) -> int:
    """Train a dictionary and return the exit code."""
    arguments = parse(Arguments, argv, "train", __doc__)
    config = read_dictionary(arguments)

    from pipeline.runtime import GangProgress
    from pipeline.training.distributed import train
    from pipeline.untrusted import Console

    progress = GangProgress(Console(stderr=True), as_json=arguments.log_format == "json")
    progress.event("training started", output=config.output)
    try:
        report = train(config, progress, arguments.address)
    except KeyboardInterrupt:
        progress.note("interrupted; what was at work is kept: run the same command again to go on.")
        return INTERRUPTED
    except CircuitSweepError as error:
        if not progress.as_json:
            raise
        progress.event("training stopped", "error", message=str(error))
        return BAD_INPUT
    _say(progress, config, report)
    return report.exit_code


def read_dictionary(arguments: DictionaryArguments) -> DictionaryConfig:
    """Read a dictionary's file, with the command line's values over it.

    Raises:
        ConfigurationError: the file, or a value on the command line, is not right.

    """
    values, lines = DICTIONARY_FILE.read(arguments.dictionary)
    return DICTIONARY_FILE.check(values, arguments.dictionary, lines, given(arguments.options))


def _say(progress: GangProgress, config: DictionaryConfig, report: TrainingReport) -> None:
    seconds = (report.finished - report.started).total_seconds()
    progress.event("training finished", done=report.done, failed=report.failed, seconds=seconds)
    if progress.as_json:
        return
    for unit, reason in report.failed.items():
        progress.line(f"{unit} was given up: {reason}", style="red")
    if report.failed:
        progress.line(f"{config.output}: not done. Its checkpoints are kept.")
        return
    progress.line(f"{config.output}: done in {clock(seconds)}; figures are in card.md and metrics.json")
    if config.kind != "sae":
        progress.line(f"to trace with it: {program()} run SWEEP.yaml --transcoders {config.output}")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
