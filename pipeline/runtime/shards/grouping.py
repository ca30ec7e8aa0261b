"""Shards from items: group them, and leave out what is done.

Runs in the driver, never more than a shard ahead of what is asked for. A refused item travels with its
shard as a failure, so that it is committed with the same marker as its neighbours' rows and is not tried
again either. Shards are cut before the done items are left out: work that is started again then makes the
very shards, with the same ids, that a straggler of the first start may still be committing. Order is that of
the items.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, groupby, islice
from operator import attrgetter, not_

from pipeline.runtime.shards.counts import Counts
from pipeline.runtime.shards.seen_keys import DONE, FAILED, SEEN, SeenKeys
from pipeline.runtime.shards.shard import Item, Shard
from pipeline.store import Output

Complete = Callable[[Sequence[Item]], Sequence[Item]]

NAMED = 10_000
"""Most ids that a run's report names of repeated items, and of shared ids."""


def read_seen(output: Output) -> SeenKeys:
    """Read the keys of all items with rows, and of all that failed."""
    done, failed = array("q"), array("q")
    for marker in output.committed():
        done.extend(marker.prompt_keys)
        failed.extend(marker.failed_keys)
    return SeenKeys(done, failed)


@dataclass(slots=True)  # so that a misspelt `seen` is an error, and not everything done again
class Shards:
    """The shards of a run, made once, while they are asked for, and a count of what was left out."""

    items: Iterable[Item]
    run_key: int
    size: int
    """Maximum number of different items in a shard."""

    seen: SeenKeys = field(default_factory=SeenKeys)
    """Keys that were committed before, and that were met since."""

    counts: Counts = field(default_factory=Counts)
    """Kept up to date with what is read and left out."""

    complete: Complete | None = None
    """Fill in what only items that are still to do need, a shard at a time: reading it may be costly."""

    repeated_keys: dict[str, int] = field(default_factory=dict)
    """Ids of the first of the repeated items, with the keys under which their rows are."""

    shared_ids: dict[str, int] = field(default_factory=dict)
    """The first ids that different items share, with the number of these items."""

    _ids: SeenKeys = field(default_factory=SeenKeys)
    """Hashes of the ids met since."""

    def __iter__(self) -> Iterator[Shard]:
        """Yield the shards that are still to do; once, for then all items have been met."""
        if self.counts.read:
            raise RuntimeError("these shards were made before: make new ones from keys that are read anew.")
        for _, group in groupby(self.items, attrgetter("group")):
            while (left := self._left(group)) is not None:
                if left:
                    yield self._shard(self.complete(left) if self.complete else left)

    def _left(self, items: Iterator[Item]) -> list[Item] | None:
        """Read as many different items as a shard has and return those still to do; None after the last."""
        left: list[Item] = []
        lacking = self.size
        while lacking and (read := list(islice(items, lacking))):
            # All are marked, done ones too: only then is a second one of them known to be repeated.
            before = self.seen.mark([item.key for item in read], SEEN)
            left += compress(read, map(not_, before))
            lacking -= self._count(read, before)
        return left if lacking < self.size else None

    def _count(self, read: list[Item], before: list[int]) -> int:
        """Count what needs nothing, by what was known of it before, and return how many were not met yet."""
        self.counts.read += len(read)
        self.counts.already_done += before.count(DONE) + before.count(DONE | FAILED)
        self.counts.already_failed += before.count(FAILED)
        met = [state & SEEN for state in before]
        for item in compress(read, met):
            self.counts.repeated += 1
            if len(self.repeated_keys) < NAMED:
                self.repeated_keys.setdefault(item.id, item.key)
        self._count_ids([item.id for item, again in zip(read, met, strict=True) if not again])
        return met.count(0)

    def _count_ids(self, ids: list[str]) -> None:
        """Count different items with one id: their rows can be told apart by key alone."""
        # Hashes, 9 bytes each instead of the ids: two of a million ids collide in one run of 40 million.
        for item_id, state in zip(ids, self._ids.mark(list(map(hash, ids)), SEEN), strict=True):
            if state:
                self.counts.same_id += 1
                if item_id in self.shared_ids or len(self.shared_ids) < NAMED:
                    self.shared_ids[item_id] = self.shared_ids.get(item_id, 1) + 1

    def _shard(self, left: Sequence[Item]) -> Shard:
        rejected = tuple(
            item.failed(self.run_key, item.refusal.stage, item.refusal.cause) for item in left if item.refusal
        )
        return Shard(tuple(item for item in left if not item.refusal), rejected, self.run_key)
