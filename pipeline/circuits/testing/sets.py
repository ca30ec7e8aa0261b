"""A circuit on one prompt, and the sets of active features that it is compared with.

- matched: features outside it, of its layers and positions as far as there are any, that write as much.
- active: any active features that write as much.
- largest: as many features, those that write most; it needs no graph.
- rewired: a random circuit from the same graph: as many kept features, grown from the target by edges that
  chance picks.

Draws of the first two name the same features on every prompt, as far as they are active there: see
`pipeline.validation.hypotheses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from pipeline.validation import Circuit, draw_matched, fill, priorities

FEW = 20
"""Draws of sets whose mean is asked for, and no rank."""

Node = tuple[int, int, int]
"""Layer, feature, number of the role."""


@dataclass(frozen=True)
class PromptCircuit:
    """A circuit's features that are active on a prompt. N active features."""

    graph: Circuit
    """The prompt's graph."""

    roles: tuple[int, ...]
    supernodes: Mapping[Node, int]
    """The circuit's nodes."""

    sizes: Float[np.ndarray, " N"]
    """Write norm of each active feature."""

    seed: int = 0

    @cached_property
    def member(self) -> Int[np.ndarray, " N"]:
        """Supernode of each active feature; -1 outside the circuit."""
        nodes = [
            (layer, feature, self.roles[position]) for layer, position, feature in self.graph.active.tolist()
        ]
        return np.array([self.supernodes.get(node, -1) for node in nodes], dtype=int)

    @cached_property
    def own(self) -> Int[np.ndarray, " k"]:
        """Indices of its features among the active ones."""
        return np.flatnonzero(self.member >= 0)

    def all_but(self, kept: Int[np.ndarray, " m"]) -> Int[np.ndarray, " n"]:
        """Return the indices of all other active features."""
        return np.setdiff1d(np.arange(len(self.graph.active)), kept, assume_unique=True)

    def without(self, supernode: int) -> Int[np.ndarray, " m"]:
        """Return its features without those of one supernode."""
        return np.flatnonzero((self.member >= 0) & (self.member != supernode))

    def drawn(self, kind: str, draws: int) -> list[Int[np.ndarray, " m"]]:
        """Return sets of one kind that stand in for it."""
        if kind == "largest":
            return [np.argsort(-self.sizes, kind="stable")[: len(self.own)]]
        return [getattr(self, f"_{kind}")(draw) for draw in range(draws)]

    def _priority(self, draw: int) -> np.ndarray:
        return priorities(draw, self.seed, self.graph.active[:, 0], self.graph.active[:, 2])

    def _matched(self, draw: int) -> Int[np.ndarray, " m"]:
        if not len(self.own):
            return self.own
        return draw_matched(self.graph.active, self.sizes, self.own, self._priority(draw))

    def _active(self, draw: int) -> Int[np.ndarray, " m"]:
        order = np.argsort(self._priority(draw), kind="stable")[::-1]
        return fill(order.tolist(), self.sizes, float(self.sizes[self.own].sum())).indices

    def _rewired(self, draw: int) -> Int[np.ndarray, " m"]:
        """Grow a random circuit over the graph's edges from the target, as large as the circuit."""
        index = {tuple(cell): number for number, cell in enumerate(self.graph.active.tolist())}
        random = np.random.default_rng([self.seed, draw])
        reached = set(np.flatnonzero(self.graph.direct).tolist())
        taken: list[int] = []
        while reached and len(taken) < len(self.own):
            chosen = sorted(reached)[random.integers(len(reached))]
            taken.append(chosen)
            reached |= set(np.flatnonzero(self.graph.edges[chosen]).tolist())
            reached -= set(taken)
        return np.array(sorted(index[tuple(self.graph.features[i].tolist())] for i in taken), dtype=int)
