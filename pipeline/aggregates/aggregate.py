"""An aggregate: tables computed from a whole sweep, once for each state of it and kept beside it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pipeline.aggregates.groups import Grouping
from pipeline.store import PART_BYTES, AggregateInfo, AggregateResult, DataFile, Output, Snapshot

if TYPE_CHECKING:
    from pipeline.aggregates.tasks import Tasks

MAX_PARTITIONS = 256
"""Most partitions of the keys that sums are merged in."""

Files = dict[str, list[DataFile]]
"""Files that were written, by table."""

Computed = tuple[Files, AggregateInfo]
"""The files, and the figures that belong to none of their rows."""


@dataclass(frozen=True)
class Aggregate(ABC):
    """Settings of one kind of aggregate, and how it is computed."""

    grouping: Grouping = field(default_factory=Grouping)
    """Choice of prompts, and the groups that they fall into."""

    part_bytes: int = field(default=PART_BYTES, kw_only=True)
    """Bytes of files that one task reads; changes no result."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Beginning of the result's name in the output."""

    @abstractmethod
    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Tasks) -> Computed:
        """Write the tables into `result`; return their files and what the manifest is to hold beside."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that change the result."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        del settings["grouping"], settings["part_bytes"]  # the latter changes no result
        return self.grouping.identity | settings


def run_aggregate(url: str, aggregate: Aggregate, address: str | None = None) -> AggregateResult:
    """Aggregate a sweep, or return the result that is there already.

    Args:
        url: the sweep's output.
        aggregate: kind and settings.
        address: Ray cluster to join; None for `RAY_ADDRESS`, or else a Ray on this machine.

    Raises:
        CircuitSweepError: there is no sweep, the settings do not fit it, or the result cannot be written.

    """
    output = Output(url)
    output.claimed()
    snapshot = output.snapshot()
    grouped_by = aggregate.grouping.description
    result = AggregateResult.of(snapshot, aggregate.name, aggregate.identity(), grouped_by)
    if result.exists():
        result.mark_current()
        return result
    # Ray takes a second to import: a result that is there does not wait for it.
    from pipeline.aggregates.tasks import Tasks

    started = time.monotonic()
    with Tasks(address) as tasks:
        files, info = aggregate.compute(snapshot, result, tasks)
    result.commit(files, info.model_copy(update={"seconds": time.monotonic() - started}))
    return result
