"""The paths that carry an edge, as `attribution.head_loadings` splits it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Float, Int
from torch import Tensor


class EdgePath(IntEnum):
    """Kinds of paths."""

    RESIDUAL = 0
    """Through no head."""
    HEAD = 1
    OTHER = 2
    """The sum of all heads whose loading is below the share."""

    @property
    def label(self) -> str:
        """The name in tables."""
        return self.name.lower()


@dataclass(frozen=True)
class HeadLoadings:
    """Loadings of n paths, in the order of edges; the residual stream first, then heads, then the others."""

    edge: Int[Tensor, " n"]
    """Index among the pruned graph's edges."""

    path: Int[Tensor, " n"]
    """`EdgePath` of each."""

    layer: Int[Tensor, " n"]
    """Layer of the head; -1 for what is no head, here and below."""

    head: Int[Tensor, " n"]
    key: Int[Tensor, " n"]
    """Position that the head looks at."""

    loading: Float[Tensor, " n"]
    """Part of the edge's weight."""
