"""Choice of a sample of prompts, and the costs of tracing one of them.

The prompts are put in order of length and cut into as many equal parts as are wanted; one is drawn from
each. So the sample has short and long prompts in the proportions of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Generic, TypeVar

from pipeline.planning.sizes import PromptSizes
from pipeline.seconds import Seconds

Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Sample:
    """One prompt that was traced for the plan."""

    sizes: PromptSizes
    """Positions, active features, rows, edges."""

    seconds: Seconds

    device_bytes: int
    """Most memory in use on the device while it was traced, the model included."""

    host_bytes: int
    """Most memory of the process meanwhile; the same without a GPU."""

    table_bytes: int
    """Bytes of its rows' files, if it had files of its own."""


def draw(prompts: Sequence[Drawn], length: Callable[[Drawn], int], count: int, seed: int) -> list[Drawn]:
    """Return `count` prompts, one from each part of the range of lengths, shortest first."""
    ordered = sorted(prompts, key=length)
    if count >= len(ordered):
        return ordered
    random = Random(seed)
    edges = [part * len(ordered) // count for part in range(count + 1)]
    return [ordered[random.randrange(first, last)] for first, last in pairwise(edges)]


@dataclass
class Reservoir(Generic[Drawn]):
    """A fair sample of a stream of unknown length (Vitter's algorithm R)."""

    size: int
    """Most items to hold."""

    seed: int
    items: list[Drawn] = field(default_factory=list)
    seen: int = 0
    """Items offered so far."""

    def __post_init__(self) -> None:
        """Start the random numbers."""
        self._random = Random(self.seed)

    def offer(self, item: Drawn) -> None:
        """Take an item in, perhaps in place of another."""
        self.seen += 1
        if len(self.items) < self.size:
            self.items.append(item)
        elif (index := self._random.randrange(self.seen)) < self.size:
            self.items[index] = item
