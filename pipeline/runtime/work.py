"""A kind of work: what one item becomes, and nothing about how many machines do it.

A class with `tables`, `load` and `do`, and one call of `run_work`; resuming, retries, commits, publishing,
reports, progress, status and metrics come with that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipeline.seconds import NO_SECONDS, Seconds
from pipeline.store import Output
from schemas import Table


@dataclass(frozen=True)
class WorkerResources:
    """The threads and devices that a worker's process may use."""

    threads: int
    """Cores that it was given."""

    devices: tuple[str, ...]
    """GPUs that it was given, by torch's names, over which a model is laid out; else the CPU."""

    device_share: float
    """Share of a GPU that it was given; 1 where it has whole ones, or none."""


@dataclass(frozen=True)
class Rows:
    """The rows that one item became."""

    tables: Mapping[str, pa.Table]
    """Rows by table."""

    seconds: Seconds = NO_SECONDS
    """Seconds that they took, by phase (default: the wall time of `do`, as `work`)."""


class Work(Protocol):
    """The way from an item to its rows. Made by the driver, pickled, and used in a worker's process."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Tables that it writes: first the one with a row for each item that is done, last `failures`."""

    @property
    def memory_bytes(self) -> int | None:
        """Memory of one worker; where it is not known (None), a machine without GPUs gets only one."""

    def load(self, resources: WorkerResources, output: Output) -> None:
        """Load what items need, once a process.

        Raises:
            CircuitSweepError: it cannot be loaded; the run stops.

        """

    def do(self, item: Any) -> Rows:
        """Return an item's rows.

        Raises:
            StageError: it has none; a row of `failures` says why. Any other exception is recorded there too,
                with the stage "worker".

        """


def output_of(work: Work, url: str) -> Output:
    """Return the output at a URL, with the tables of a kind of work."""
    return Output(url, {table.name: table for table in work.tables})
