"""What a worker tells the driver: small, typed, and free of anything heavy, since drivers stay lean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.store.rows import FailedPrompt


@dataclass(frozen=True)
class Place:
    """Where a worker is."""

    node: str
    """Address of its machine."""

    node_id: str
    """Ray's name for it."""

    pid: int
    """Number of its process there."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"{self.node}:{self.pid}"


@dataclass(frozen=True)
class ShardReport:
    """What became of a shard that a worker was given."""

    done: int
    """Prompts, from the shard's first on, that have a graph or a failure now; fewer than it has if the worker
    had to leave."""

    graphs: int = 0
    """Prompts with a graph."""

    shard: str | None = None
    """Id of what was committed; None where nothing was."""

    prompt_keys: tuple[int, ...] = ()
    """Keys of the prompts with a graph."""

    failed: tuple[FailedPrompt, ...] = ()
    """Prompts without a graph."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows written, by table."""

    bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes written, by table."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds by phase."""

    leaving: bool = False
    """Whether the worker wants no more shards: it was told to end, or a prompt hangs in it."""


@dataclass(frozen=True)
class Sign:
    """A worker's sign of life."""

    shard: str | None
    """Id of the shard that it traces; None while it has nothing to trace."""

    prompts: int = 0
    """Prompts in that shard."""

    done: int = 0
    """Of these, how many are traced."""

    since: datetime | None = None
    """When it began that shard, UTC."""
