"""Say where a sweep or a training stands: what is done and left, who drives it, what each worker does.

Reads the output alone, so it works from anywhere that can read it, cluster or no cluster. Exit codes: 0,
running or finished; 1, ended early (interrupted, stopped by an error, or died): the command that started it
goes on; 2, never started, or it could not be told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import ReportOptions
from jobs.cli import run_command
from pipeline.readable import clock

if TYPE_CHECKING:
    from pipeline.runtime import Status, WorkerStatus
    from pipeline.untrusted import Console

WELL, ENDED_EARLY, NEVER_STARTED = 0, 1, 2

NOTES_SHOWN = 3


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep or a training: a folder or an `s3://` URL."""

    report: Annotated[ReportOptions, tyro.conf.arg(name="")] = field(default_factory=ReportOptions)


def main(argv: list[str] | None = None) -> int:
    """Print where a sweep stands and return what its state calls for."""
    arguments = parse(Arguments, argv, "status", __doc__)

    from pipeline.training.distributed import is_training

    if is_training(arguments.output):
        return _training(arguments)

    from pipeline.runtime import read_status
    from pipeline.store import Output
    from pipeline.untrusted import Console

    status = read_status(Output(arguments.output))
    with arguments.report.opened() as stream:
        if arguments.report.format == "json":
            print(json.dumps(asdict(status), indent=2, default=str), file=stream)
        else:
            _print(Console(file=stream, highlight=False, soft_wrap=True), status)
    if status.state == "never started":
        return NEVER_STARTED
    return WELL if status.is_well else ENDED_EARLY


def _training(arguments: Arguments) -> int:
    """Print where a training stands."""
    from jobs._training import as_json, print_status
    from pipeline.training.distributed import read_training_status
    from pipeline.untrusted import Console

    status = read_training_status(arguments.output)
    with arguments.report.opened() as stream:
        if arguments.report.format == "json":
            print(json.dumps(as_json(status), indent=2, default=str), file=stream)
        else:
            print_status(Console(file=stream, highlight=False, soft_wrap=True), status)
    return WELL if status.is_well else ENDED_EARLY


def _print(console: Console, status: Status) -> None:
    from rich.text import Text

    from pipeline.store import nearby_outputs

    for name, value in _lines(status):
        console.print(Text.assemble((f"{name:<11}", "bold"), value))
    _print_workers(console, status)
    if advice := ADVICE.get(status.state):
        console.print(f"\n{advice}", markup=False)
    if status.state == "never started" and (near := nearby_outputs(status.output)):
        console.print(f"Did you mean {' or '.join(near)}?", markup=False)


ADVICE = {
    "never started": "Nothing was ever started here: check the path, or start it with `circuit-sweep run`.",
    "interrupted": "The command that started it goes on where it stopped.",
    "stopped": "Fix what the error names; then the command that started it goes on where it stopped.",
    "died": "Its driver ended without a report; the command that started it goes on where it stopped.",
}
"""Advice for each state in which the user has to act."""


def _lines(status: Status) -> Iterator[tuple[str, str]]:
    yield "output", status.output
    yield "state", status.state + (f": {status.error}" if status.error else "")
    if status.state == "never started":
        return
    if status.driver is not None:
        driver = status.driver
        yield "driver", f"{driver.name} since {_time(driver.since)}, heard of {_ago(driver.heard)}"
    done = status.committed
    when = f", the last {_ago(done.last)}" if done.last else ""
    yield "committed", f"{done.graphs:,} graphs, {done.failures:,} failed, in {done.shards:,} shards{when}"
    yield "left", _left(status)
    if status.rate is not None:
        left = "" if status.seconds_left is None else f", {clock(status.seconds_left)} left"
        yield "rate", f"{status.rate:,.1f} prompts/s{left}"
    yield "versions", _versions(status)
    for note in status.notes[-NOTES_SHOWN:]:
        yield "note", note


def _left(status: Status) -> str:
    left = "unknown" if status.left is None else f"{status.left:,}"
    return left if status.total is None else f"{left} of {status.total:,} prompts"


def _versions(status: Status) -> str:
    if status.published is None:
        return "none yet: the end of a run publishes one"
    named = ", ".join(f"{table} {number}" for table, number in status.versions.items())
    return f"{named}; published {_time(status.published)}"


def _print_workers(console: Console, status: Status) -> None:
    from rich.table import Table

    here = [worker for worker in status.workers if not worker.is_gone]
    gone = [worker for worker in status.workers if worker.is_gone]
    if here:
        table = Table("worker", "does", "since", "of its shard")
        for name in ("shards", "graphs", "failed"):
            table.add_column(name, justify="right")
        for worker in here:
            table.add_row(*_row(worker))
        console.print(table)
    if gone:
        graphs = sum(worker.committed.graphs for worker in gone)
        console.print(f"by {len(gone):,} workers that have ended: {graphs:,} graphs")


def _row(status: WorkerStatus) -> tuple[str, ...]:
    worker, done = status.worker, status.committed
    part = f"{worker.items_done} of {worker.items}" if worker.shard else ""
    since = _ago(worker.since) if worker.since else ""
    counts = (f"{count:,}" for count in (done.shards, done.graphs, done.failures))
    return worker.name or "(no machine yet)", worker.activity, since, part, *counts


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _ago(moment: datetime) -> str:
    return f"{clock((datetime.now(UTC) - moment).total_seconds())} ago"


if __name__ == "__main__":
    raise SystemExit(run_command(main))
