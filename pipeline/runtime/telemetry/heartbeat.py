"""`_progress.json`: where a run stands, for whoever can read the output and cannot see its driver.

The driver hands over what it knows; a thread writes the latest of it every few seconds, so that a slow store
never holds the driver up. What is committed is said by markers: this file may be late, and adds who works on
what.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import StoreError
from pipeline.store import PROGRESS, DataFolder

State = Literal["waiting", "loading", "working", "idle", "leaving"]
"""What a worker is about: waiting for a machine, loading the model, ..."""

BEAT_SECONDS = 10.0
"""Pause between two writes."""


class WorkerStanding(BaseModel):
    """What one worker is about."""

    model_config = ConfigDict(frozen=True)

    name: str | None
    """Address of its machine and its number there; None while it waits for a machine."""

    node: str | None
    pid: int | None
    state: State
    shard: str | None
    """The shard that it traces."""

    prompts: int
    """Prompts in that shard."""

    prompts_done: int
    """Of these, traced so far."""

    since: datetime
    """When that shard was begun; without one, when the worker was started or got ready, UTC."""


class Standing(BaseModel):
    """Where a run stands."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    """Version of this file's layout."""

    host: str
    """The driver's machine."""

    pid: int
    """The driver's process."""

    started: datetime
    """When this run began, UTC."""

    written: datetime
    """When this was so, UTC."""

    state: Literal["starting", "working", "stopping", "finished", "interrupted", "failed"]
    """`finished`: all prompts are committed, publishing may be under way."""

    total: int | None
    """Prompts of the dataset, where that is known."""

    passed_over: int
    """Prompts that needed nothing: done or failed before, or repeated."""

    graphs: int
    """Prompts that this run gave a graph."""

    failures: int
    """Prompts that failed in this run."""

    left: int | None
    """Prompts to do, where that is known."""

    rate: float
    """Prompts a second since the first worker was ready."""

    queued_shards: int
    """Shards that wait for a worker."""

    deaths: int
    """Workers that died."""

    wanted_workers: int
    """Workers that there should be now."""

    workers: tuple[WorkerStanding, ...]
    notes: tuple[str, ...]
    """The last things out of the ordinary."""


def read_standing(folder: DataFolder) -> Standing | None:
    """Read where the last run stands, or stood; None if none said so, or in a form that is not ours.

    Raises:
        StoreError: the output cannot be read.

    """
    data = folder.read_if_there(PROGRESS)
    try:
        return Standing.model_validate_json(data) if data else None
    except ValidationError:
        return None


class ProgressFile:
    """Writes the latest standing now and then, and the last one when it is left."""

    def __init__(self, folder: DataFolder, beat: float = BEAT_SECONDS) -> None:
        self._folder = folder
        self._beat = beat
        self._latest: Standing | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="progress", daemon=True)

    def __enter__(self) -> ProgressFile:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._write()

    def show(self, standing: Standing) -> None:
        """Let this be what is written next."""
        self._latest = standing

    def _write_on(self) -> None:
        while not self._ended.wait(self._beat):
            self._write()

    def _write(self) -> None:
        if self._latest is None:
            return
        data = self._latest.model_copy(update={"written": datetime.now(UTC)}).model_dump_json()
        with suppress(StoreError):  # it only informs; a store that is gone stops the sweep elsewhere
            self._folder.replace(PROGRESS, data.encode())
