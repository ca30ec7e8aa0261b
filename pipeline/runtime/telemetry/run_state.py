"""The state of a run, for whoever can read the output and cannot see its driver.

The driver hands it to its lease, whose beats write it into `_driver.json` every few seconds, so that a slow
store never holds the driver up. What is committed is said by markers: this may be late, and adds who works on
what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.runtime.shards import Counts
from pipeline.store.commits import Holder

NOTES = 10
"""Notes that a run state repeats: it is written every few seconds, and the report has them all."""

State = TypeVar("State", bound=BaseModel)

Activity = Literal["waiting", "loading", "working", "idle", "leaving", "gone"]
"""Waiting for a machine, loading the model, ...; `gone` is what the driver does not know, or not any more."""


@dataclass(frozen=True)
class WorkerState:
    """One worker."""

    name: str | None
    """Address of its machine and process id; None while it waits for a machine."""

    activity: Activity
    since: datetime | None = None
    """Time at which it began its shard; without one, at which it was started or got ready; UTC."""

    shard: str | None = None
    """Id of the shard that it works on."""

    items: int = 0
    """Items in that shard."""

    items_done: int = 0
    """Of these, items that are done and not yet committed."""


class RunState(BaseModel):
    """One run, as its driver sees it."""

    model_config = ConfigDict(frozen=True)

    started: datetime
    state: Literal["starting", "working", "stopping", "finished", "interrupted", "failed"]
    """`finished`: all items are committed, publishing may be under way."""

    counts: Counts
    rate: float
    """Items a second since the first worker was ready."""

    queued_shards: int
    """Shards that wait for a worker."""

    deaths: int
    """Workers that died."""

    wanted_workers: int
    """Workers that there should be now."""

    workers: tuple[WorkerState, ...]
    notes: tuple[str, ...]
    """The last things out of the ordinary."""


def read_said(state: type[State], holder: Holder | None) -> State | None:
    """Return the state that a driver last told; None if none yet, or in the form of another version."""
    if holder is None or holder.run is None:
        return None
    try:
        return state.model_validate(holder.run)
    except ValidationError:
        return None
