"""An item of work and the shard, the unit of work, retry and commit.

The runtime looks at an item's key and at what a row of `failures` needs; the rest, which kinds of work add in
classes of their own, it only carries to the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.runtime.shards.stage import StageError
from pipeline.store.commits import shard_id
from pipeline.store.rows import FailedPrompt


@dataclass(slots=True, kw_only=True)
class Item:
    """One piece of work, which ends as rows or as a failure. Not frozen: there may be millions to make."""

    key: int
    """Identity, signed 64 bits: items with the same key are the same work."""

    id: str
    """The user's name for it."""

    text: str | None = None
    """Its text as given, for `failures`."""

    extra_columns: Mapping[str, Any] = field(default_factory=dict)
    """Values of the user's extra columns."""

    group: str = ""
    """Items of different groups never share a shard."""

    refusal: StageError | None = None
    """Reason why there is nothing to do but to record a failure."""

    def failed(self, run_key: int, stage: str, error: Exception, attempts: int = 1) -> FailedPrompt:
        """Return the row of `failures` that this item becomes."""
        return FailedPrompt(
            prompt_key=self.key,
            id=self.id,
            run_key=run_key,
            text=self.text,
            stage=stage,
            error_class=type(error).__name__,
            message=str(error),
            attempts=attempts,
            extra_columns=self.extra_columns,
        )


@dataclass(frozen=True)
class Shard:
    """Items that one worker does and commits together, with the history of earlier tries."""

    items: tuple[Item, ...]

    rejected: tuple[FailedPrompt, ...]
    """Items that were refused before any work; they only have to be recorded."""

    run_key: int

    deaths: int = 0
    """Workers that died on it."""

    errors: int = 0
    """Times that it could not be written."""

    suspect: bool = False
    """True if a worker died on it, or on the shard it was cut from: then it runs with nothing beside it, so
    that no neighbour shares the blame."""

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of its items, rejected ones too."""
        return (*(item.key for item in self.items), *(failed.prompt_key for failed in self.rejected))

    @property
    def id(self) -> str:
        """Identity of the unit of work: a hash over its items and the run."""
        return shard_id(self.keys, self.run_key)

    def __len__(self) -> int:
        return len(self.items) + len(self.rejected)

    def until(self, done: int) -> Shard:
        """Return the first `done` items, with all that were rejected, as a shard of its own."""
        return replace(self, items=self.items[:done])
