"""A chosen set of active features, and the sets that it is compared with.

- matched: random sets of features outside it that could have been it; see `sampling`.
- active: random sets of the same summed size from all active features, its own included.
- largest: as many features, those that write most. It needs no graph.
- worst: the worst case beside random. Of the features outside the chosen set those whose ablation, one by
  one, costs most, taken until their summed size is that of the chosen set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.sampling import (
    EqualSet,
    MatchedSampler,
    MatchedSet,
    draw_active,
    fill,
)

Indices = Int[np.ndarray, " m"]

ACTIVE_DRAWS = 20
"""Random sets from all active features: their median is asked for, and no rank among them."""


@dataclass(frozen=True)
class ComparedSets:
    """A chosen set with its competitors, as indices into the active features."""

    own: Indices
    matched: tuple[MatchedSet, ...]
    active: tuple[EqualSet, ...]
    largest: Indices
    worst: EqualSet

    @property
    def rows(self) -> tuple[Indices, ...]:
        """The sets in the order in which `slices` finds them again."""
        drawn = (part.indices for part in (*self.matched, *self.active))
        return (self.own, *drawn, self.largest, self.worst.indices)

    @property
    def slices(self) -> dict[str, slice]:
        """Rows of each kind of set."""
        first_active = 1 + len(self.matched)
        largest = first_active + len(self.active)
        return {
            "own": slice(0, 1),
            "matched": slice(1, first_active),
            "active": slice(first_active, largest),
            "largest": slice(largest, largest + 1),
            "worst": slice(largest + 1, largest + 2),
        }

    def fewer(self, matched: int) -> ComparedSets:
        """Return them with the first of the matched sets only."""
        return replace(self, matched=self.matched[:matched])


def draw_sets(
    circuit: Circuit,
    sizes: Float[np.ndarray, " N"],
    own: Indices,
    losses: Float[np.ndarray, " N"],
    draws: int,
    random: np.random.Generator,
) -> ComparedSets:
    """Draw a chosen set's competitors.

    Args:
        circuit: the graph that it is from.
        sizes: write norm of each active feature.
        own: the chosen set.
        losses: cost of ablating each active feature alone, for the worst case.
        draws: matched sets.
        random: source of the draws.

    """
    wanted = float(sizes[own].sum())
    pool = MatchedSampler(circuit.active, sizes, own)
    by_loss = np.argsort(-losses, kind="stable")
    return ComparedSets(
        own,
        tuple(pool.draw_equal(random) for _ in range(draws)),
        tuple(draw_active(sizes, wanted, random) for _ in range(ACTIVE_DRAWS)),
        np.argsort(-sizes, kind="stable")[: len(own)],
        fill(by_loss[~np.isin(by_loss, own)].tolist(), sizes, wanted),
    )
