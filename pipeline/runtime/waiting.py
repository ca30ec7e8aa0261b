"""The shards that wait for a worker, in two lines: those that may go beside another, and suspects.

A shard whose worker died is tried once more as a whole; if that kills a worker too it is split, and split
again, until the prompt that kills is alone. Alone it gets two tries. A shard of 32 with one such prompt costs
about eight deaths. A worker holds two shards, one being written while the next is traced, and its death puts
both under suspicion; a suspect is tried with nothing beside it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pipeline.runtime.shard import Shard

DEATHS = 2
"""Deaths after which a shard is split, or a prompt alone is given up."""


@dataclass
class Waiting:
    """What no worker holds."""

    ready: deque[Shard] = field(default_factory=deque)
    suspects: deque[Shard] = field(default_factory=deque)
    """Shards that a worker must have alone."""

    def __len__(self) -> int:
        return len(self.ready) + len(self.suspects)

    def put_first(self, shard: Shard) -> None:
        """Take a shard back, to be the next of its kind."""
        self._line(shard).appendleft(shard)

    def put_last(self, shard: Shard) -> None:
        """Take a shard that others should go before."""
        self._line(shard).append(shard)

    def put_halves(self, shard: Shard) -> None:
        """Take a shard back as two halves, which are the next suspects."""
        self.suspects.extendleft(reversed(shard.split()))

    def _line(self, shard: Shard) -> deque[Shard]:
        return self.suspects if shard.suspect else self.ready
