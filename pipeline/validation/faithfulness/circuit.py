"""One stored graph, as its tests need it: the circuit, the other active features, the edges.

The circuit is the features that pruning kept. Legend: n kept features, N active ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from pipeline.validation.faithfulness.explained_target import ExplainedTarget


@dataclass(frozen=True)
class Circuit:
    """A prompt's pruned graph."""

    token_ids: tuple[int, ...]
    """The prompt."""

    targets: tuple[ExplainedTarget, ...]
    """What the graph explains; the first is the one that necessity and sufficiency are about."""

    features: Int[np.ndarray, "n 3"]
    """(layer, position, feature) of the kept features, sorted."""

    activations: Float[np.ndarray, " n"]
    """Their activations."""

    influence: Float[np.ndarray, " n"]
    """Their influence on the targets."""

    active: Int[np.ndarray, "N 3"]
    """All active features, sorted."""

    active_activations: Float[np.ndarray, " N"]
    """Their activations."""

    edges: Float[np.ndarray, "n n"]
    """Direct effects between kept features, rows are targets; 0 where pruning dropped the edge."""

    direct: Float[np.ndarray, " n"]
    """Direct effects on the targets: the sum over these of weight times |edge|."""

    partner: int | None = None
    """First token of the prompt's partner's target, where the sweep has pairs."""

    @cached_property
    def kept(self) -> Bool[np.ndarray, " N"]:
        """True for the active features that are in the circuit."""
        inside = set(map(tuple, self.features.tolist()))
        return np.array([tuple(feature) in inside for feature in self.active.tolist()], dtype=bool)

    @cached_property
    def by_influence(self) -> Int[np.ndarray, " n"]:
        """Indices of the kept features, most influential first."""
        return np.argsort(-self.influence, kind="stable")
