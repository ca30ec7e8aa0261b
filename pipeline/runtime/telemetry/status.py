"""The state of a sweep, told by its output alone: no cluster is asked, so it works wherever that can be read.

Markers say what is committed, and by whom; `_driver.json` who drives and what the driver last said, some
ten seconds ago; `_runs/` how earlier starts ended; the Delta logs what is published. For a million prompts
that is ten thousand small reads, side by side, and no row of any table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from pipeline.runtime.shards import Counts
from pipeline.runtime.telemetry.run_state import RunState, WorkerState, read_said
from pipeline.store import Output
from pipeline.store.commits import Holder, Marker, StoredReport, read_holder, read_reports, report_names

State = Literal["never started", "running", "finished", "interrupted", "stopped", "died"]
"""`interrupted` is ended by Ctrl-C or SIGTERM, `stopped` by an error, `died` gone without a word."""


@dataclass(frozen=True)
class DriverStatus:
    """The process that holds the output."""

    name: str
    """Its machine and process id."""

    since: datetime

    heard: datetime
    """Time of its last sign of life, UTC."""


@dataclass(frozen=True)
class Committed:
    """Counts of what all starts committed; of one worker, or of all."""

    shards: int = 0
    graphs: int = 0
    failures: int = 0

    last: datetime | None = None
    """Time of the last commit, UTC."""


@dataclass(frozen=True)
class WorkerStatus:
    """One worker, as the driver last said, with what it has committed."""

    worker: WorkerState
    committed: Committed

    @property
    def is_gone(self) -> bool:
        """True if the driver does not know it, or not any more."""
        return self.worker.activity == "gone"


@dataclass(frozen=True)
class Status:
    """The state of a sweep."""

    output: str
    """URL of the output."""

    state: State
    driver: DriverStatus | None
    """Holder of the output, alive or not; None if nobody holds it."""

    committed: Committed

    total: int | None
    """Prompts of the dataset, repeated ones among them, if known."""

    left: int | None
    """Prompts that nobody has done yet, if known."""

    rate: float | None
    """Prompts a second since the first worker was ready; None while nobody works."""

    seconds_left: float | None
    """At that rate."""

    starts: int
    """Starts that have ended with a report."""

    error: str | None
    """Message of the error that stopped the last start."""

    notes: list[str]
    """Events out of the ordinary in this start, or in the last one."""

    versions: dict[str, int]
    """Each table's last published version."""

    published: datetime | None
    """Time at which the last version of any table was published, UTC."""

    workers: list[WorkerStatus]
    """Those that the driver knows first."""

    @property
    def is_well(self) -> bool:
        """True if nobody has to do anything."""
        return self.state in ("running", "finished")


def read_status(output: Output) -> Status:
    """Look at an output.

    Raises:
        StoreError: it cannot be read, or another version wrote it.

    """
    output.check_format()
    # In this order, so that a start that ends meanwhile still counts as running.
    holder = read_holder(output.folder)
    said = read_said(RunState, holder)
    starts = len(report_names(output.folder))
    last = next(read_reports(output.folder), StoredReport())
    markers = list(output.committed())
    state = _state(holder, last, bool(markers))
    counts = _counts(holder, said, last)
    live = said if state == "running" else None
    left = 0 if state == "finished" else counts.left
    rate = (live.rate or None) if live is not None else None
    return Status(
        output=output.url,
        state=state,
        driver=None if holder is None else _driver(holder),
        committed=_sum(markers),
        total=counts.total,
        left=left,
        rate=rate,
        seconds_left=left / rate if rate and left is not None else None,
        starts=starts,
        error=_error(last) if state == "stopped" else None,
        notes=list(said.notes) if said is not None else last.notes,
        versions=output.last_versions(),
        published=output.published(),
        workers=_workers(markers, live.workers if live is not None else ()),
    )


def _state(holder: Holder | None, last: StoredReport, any_committed: bool) -> State:
    if holder is not None:
        return "died" if holder.is_dead else "running"
    match last.state:
        case "finished":
            return "finished"
        case "KeyboardInterrupt":
            return "interrupted"
        case None:
            return "interrupted" if any_committed else "never started"
        case _:
            return "stopped"


def _counts(holder: Holder | None, said: RunState | None, last: StoredReport) -> Counts:
    """The counts of the start under way, or of the last one; those of an earlier start are not its own."""
    if holder is None:
        known = {field.name for field in fields(Counts)}
        return Counts(
            **{name: count for name, count in last.counts.items() if name in known and count is not None}
        )
    return Counts() if said is None else said.counts


def _driver(holder: Holder) -> DriverStatus:
    return DriverStatus(f"{holder.host}:{holder.pid}", holder.since, holder.beat)


def _error(last: StoredReport) -> str:
    return ": ".join(filter(None, (last.state, last.error)))


def _sum(markers: Iterable[Marker]) -> Committed:
    counts: Counter[str] = Counter()
    last = None
    for marker in markers:
        counts.update(shards=1, graphs=len(marker.prompt_keys), failures=len(marker.failed_keys))
        last = max(last or marker.created, marker.created)
    return Committed(**counts, last=last)


def _workers(markers: Iterable[Marker], known: Iterable[WorkerState]) -> list[WorkerStatus]:
    by_name: dict[str, list[Marker]] = {}
    for marker in markers:
        if marker.worker is not None:
            by_name.setdefault(marker.worker, []).append(marker)
    here = [WorkerStatus(worker, _sum(by_name.pop(worker.name or "", ()))) for worker in known]
    gone = (WorkerState(name=name, activity="gone") for name in sorted(by_name))
    return here + [WorkerStatus(worker, _sum(by_name[worker.name])) for worker in gone]
