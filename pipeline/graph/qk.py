"""Why heads look where they look, as `attribution.qk` splits their scores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Float, Int
from torch import Tensor


class ScorePart(IntEnum):
    """Kinds of rows; those of each kind sum to the score."""

    SCORE = 0
    """The score itself."""
    PAIR = 1
    """A component of the query with one of the key."""
    QUERY = 2
    """A component of the query with the whole key."""
    KEY = 3
    """A component of the key with the whole query."""

    @property
    def label(self) -> str:
        """The name in tables."""
        return self.name.lower()


class Component(IntEnum):
    """Kinds of components of queries and keys; the first three as `NodeKind`."""

    FEATURE = 0
    ERROR = 1
    TOKEN = 2
    CONSTANT = 3
    """All that is no node: biases, learned positions, the MLPs' outputs at the first positions."""
    OTHER = 4
    """The sum of all that have no row of their own."""
    WHOLE = 5

    @property
    def label(self) -> str:
        """The name in tables."""
        return self.name.lower()


@dataclass(frozen=True)
class QKAttribution:
    """The scores of some heads and their n parts, head by head in the order of what they carry."""

    layer: Int[Tensor, " n"]
    """Layer of the head."""

    head: Int[Tensor, " n"]
    query: Int[Tensor, " n"]
    """Position that the head looks from."""

    key: Int[Tensor, " n"]
    """Position that it looks at."""

    part: Int[Tensor, " n"]
    """`ScorePart` of each row."""

    query_component: Int[Tensor, "n 4"]
    """`Component`, layer, position, and feature or token id; -1 for what does not apply."""

    key_component: Int[Tensor, "n 4"]

    score: Float[Tensor, " n"]
    """Part of the head's score of the key before the softmax, float64."""

    contrast: Float[Tensor, " n"]
    """Part of that score less the mean over the other keys that the query sees; nan if there are none."""

    attention: Float[Tensor, " n"]
    """Attention that the head pays to the key, of the scores themselves; nan for their parts."""
