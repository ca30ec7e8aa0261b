"""What the driver says about its work while it works: `_progress.json`, written anew every few seconds.

It is for people who look (`circuit-sweep status`) and decides nothing: what is done, markers say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import StoreError
from pipeline.store.folder import Folder

PROGRESS = "_progress.json"


class WorkerStanding(BaseModel):
    """What a worker does now, as the driver sees it."""

    model_config = ConfigDict(frozen=True)

    name: str | None
    """Address of its node and process id; None while it waits for a machine."""

    node: str | None
    pid: int | None
    state: Literal["waiting", "loading", "working", "idle", "leaving"]
    shard: str | None
    """What it traces."""

    prompts: int
    """Prompts in that shard."""

    prompts_done: int
    """Of these, traced and not yet committed."""

    since: datetime
    """When that shard, or that state, began."""


class Standing(BaseModel):
    """Where a start stands."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    """Version of this file's layout."""

    host: str
    pid: int
    """The driver."""

    started: datetime
    """When this start began."""

    written: datetime
    """When this was written."""

    state: Literal["starting", "working", "stopping", "finished", "interrupted", "failed"]
    total: int | None
    """Prompts of the dataset, if known."""

    passed_over: int
    """Prompts done or failed before, or repeated."""

    graphs: int
    """Prompts traced and committed by this start."""

    failures: int
    """Prompts failed and committed in this start."""

    left: int | None
    """Prompts that nothing was done about yet, if known."""

    rate: float
    """Prompts a second since the first worker was ready; 0 while it loads."""

    queued_shards: int
    """Shards that wait for a worker."""

    deaths: int
    """Workers that died in this start."""

    wanted_workers: int
    """Workers that the driver wants now."""

    workers: list[WorkerStanding]
    notes: list[str]
    """The last things out of the ordinary."""


def write_standing(folder: Folder, standing: Standing) -> None:
    """Put it where `read_standing` finds it."""
    folder.replace(PROGRESS, standing.model_dump_json(indent=1).encode())


def read_standing(folder: Folder) -> Standing | None:
    """Return what a driver said last; None if none did, or in a form that this release does not know."""
    try:
        return Standing.model_validate_json(folder.read(PROGRESS))
    except ValidationError:
        return None
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
