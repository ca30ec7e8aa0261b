"""Messages of a worker to the driver: small and typed, without anything heavy, since drivers stay lean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.seconds import NO_SECONDS, Seconds
from pipeline.store.rows import FailedPrompt


@dataclass(frozen=True)
class WorkerAddress:
    """A worker's process."""

    node: str
    """Address of its machine."""

    node_id: str
    """Ray's name for that machine."""

    pid: int

    @property
    def name(self) -> str:
        """The worker's name in reports."""
        return f"{self.node}:{self.pid}"


@dataclass(frozen=True)
class Heartbeat:
    """A worker's sign of life."""

    shard: str | None = None
    """Id of the shard that it works on."""

    items: int = 0
    """Items in that shard."""

    done: int = 0
    """Of these, items that are dealt with."""

    since: datetime | None = None
    """Time at which it began that shard, UTC."""

    warnings: tuple[str, ...] = ()
    """Warnings that its libraries logged since it last told."""


@dataclass(frozen=True)
class ShardReport:
    """The outcome of a shard that a worker was given."""

    done: int
    """Items, from the shard's first on, that have rows or a failure now; fewer than it has if the worker had
    to leave."""

    shard: str | None = None
    """Id of what was committed; None where nothing was."""

    done_keys: tuple[int, ...] = ()
    """Keys of the items with rows, where this attempt won."""

    with_rows: int = 0
    """Number of items with rows."""

    failed: tuple[FailedPrompt, ...] = ()
    """Items that failed."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows written, by table."""

    bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes written, by table."""

    seconds: Seconds = NO_SECONDS
    leaving: bool = False
    """True if the worker wants no more shards: it was told to end, or an item hangs in it."""

    warnings: tuple[str, ...] = ()
    """Warnings that its libraries logged since it last told."""
