"""How each kind of training makes features sparse, from pre-activations to a code.

- BatchTopK (Bussmann et al. 2024): the k B largest scores of a batch of B rows stay, wherever they fall, so
  that hard tokens may use more features than easy ones. A score is an activation times the norm of what the
  feature writes, so decoders need no fixed norm. The mean cut becomes the thresholds of a JumpReLU.
- TopK: the k largest of each row.
- JumpReLU (Anthropic, January 2025): `tanh` of the score as penalty, thresholds trained by a straight-through
  rectangle, and a small pull on features that are silent.
- ReLU with L1 on the score. It shrinks what it keeps: here to be compared with.

The weight of a penalty follows from the k that is asked for: it grows while more features are active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipeline.training.feature_shard import FeatureShard
from pipeline.training.recipe.selection import largest_of_batch
from pipeline.training.recipe.sparse_code import Pattern, decoded, encoded, matmul
from pipeline.training.recipe.weights import LayerWeights

BANDWIDTH = 2.0
"""Width of the rectangle in which a threshold learns, epsilon."""

SLOPE = 4.0
"""Of the tanh, c."""

PULL = 3e-6
"""Weight of the pre-activation loss, l_P."""


class Code(Protocol):
    """Features that are active in a batch."""

    cut: float
    """Smallest score that was kept; 0 where nothing is cut."""

    penalty: Tensor | None
    """Added to the loss, apart from its weight."""

    pull: Tensor | None
    """Added to the loss as it is."""

    def decode(self, write: int) -> Float[Tensor, "B d"]:
        """Return what these features write to the layer `write` steps above."""
        ...

    def active(self) -> Bool[Tensor, " F"]:
        """Tell which features are active in some row."""
        ...

    def count(self) -> int:
        """Return the number of active features, summed over rows."""
        ...

    @property
    def rows(self) -> int:
        """Rows that it is of."""
        ...


@dataclass
class Seen:
    """What a batch has shown of one layer's features."""

    active: Bool[Tensor, " F"]
    """Features that were active in some row."""

    count: int = 0
    """Active features, summed over rows."""

    cut: float = 0.0
    """Smallest score that was kept; 0 where nothing is cut."""

    is_penalised: bool = False
    """A sparsity loss was part of the batch's."""

    def add(self, code: Code) -> None:
        """Count a piece of the batch."""
        self.active |= code.active()
        self.count += code.count()
        self.cut, self.is_penalised = code.cut, code.penalty is not None


@dataclass(frozen=True)
class FewActive:
    """A code by its entries."""

    weights: LayerWeights
    pattern: Pattern
    values: Float[Tensor, " n"]
    cut: float
    penalty: Tensor | None = None
    pull: Tensor | None = None

    def decode(self, write: int) -> Float[Tensor, "B d"]:
        """See `Code`."""
        return decoded(self.values, self.weights.decoders[write], self.pattern)

    def active(self) -> Bool[Tensor, " F"]:
        """See `Code`."""
        active = torch.zeros(self.pattern.shape[1], dtype=torch.bool, device=self.values.device)
        active[self.pattern.features] = True
        return active

    def count(self) -> int:
        """See `Code`."""
        return len(self.pattern.rows)

    @property
    def rows(self) -> int:
        """See `Code`."""
        return self.pattern.shape[0]


@dataclass(frozen=True)
class ManyActive:
    """A code as a matrix."""

    weights: LayerWeights
    matrix: Float[Tensor, "B F"]
    penalty: Tensor | None = None
    pull: Tensor | None = None
    cut: float = 0.0

    def decode(self, write: int) -> Float[Tensor, "B d"]:
        """See `Code`."""
        return matmul(self.matrix, self.weights.decoders[write])

    def active(self) -> Bool[Tensor, " F"]:
        """See `Code`."""
        return (self.matrix.detach() > 0).any(0)

    def count(self) -> int:
        """See `Code`."""
        return int((self.matrix.detach() > 0).sum())

    @property
    def rows(self) -> int:
        """See `Code`."""
        return len(self.matrix)


def _preactivations(weights: LayerWeights, inputs: Float[Tensor, "B d"]) -> Float[Tensor, "B F"]:
    if inputs.is_cuda:
        return matmul(inputs, weights.encoder.T) + weights.encoder_bias
    return torch.addmm(weights.encoder_bias, inputs, weights.encoder.T)


def batch_top_k(
    weights: LayerWeights,
    pieces: Sequence[Float[Tensor, "P d"]],
    k: int,
    last_cut: float,
    shard: FeatureShard,
) -> Iterator[FewActive]:
    """Keep the k B largest scores of a batch, and yield those of each piece of its rows."""
    with torch.no_grad():
        found, cut = largest_of_batch(
            lambda number: _preactivations(weights, pieces[number]),
            [len(piece) for piece in pieces],
            weights.norms(),
            k,
            last_cut,
            shard,
        )
    first = 0
    for piece in pieces:
        entries = found if len(pieces) == 1 else found.of_rows(first, first + len(piece))
        yield _few(weights, piece, entries.rows, entries.features, entries.values, cut)
        first += len(piece)


def top_k(weights: LayerWeights, inputs: Float[Tensor, "B d"], k: int) -> FewActive:
    """Keep the k largest activations of each row."""
    with torch.no_grad():
        preactivations = _preactivations(weights, inputs)
        values, found = preactivations.topk(k, dim=1)
        found = found.masked_fill(values <= 0, len(weights.encoder_bias)).sort(1).values
        rows, places = (found < len(weights.encoder_bias)).nonzero().unbind(1)
        features = found[rows, places]
        values = preactivations[rows, features]
    return _few(weights, inputs, rows, features, values, 0.0)


def _few(
    weights: LayerWeights, inputs: Tensor, rows: Tensor, features: Tensor, values: Tensor, cut: float
) -> FewActive:
    pattern = Pattern(rows, features, (len(inputs), len(weights.encoder_bias)))
    values = encoded(weights.encoder, weights.encoder_bias, inputs, pattern, values)
    return FewActive(weights, pattern, values, cut)


class _Jump(torch.autograd.Function):
    """JumpReLU whose threshold learns from entries near it."""

    @staticmethod
    def forward(ctx: Any, preactivations: Tensor, log_threshold: Tensor) -> Tensor:
        threshold = log_threshold.exp()
        ctx.save_for_backward(preactivations, threshold)
        return torch.where(preactivations > threshold, preactivations, 0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        preactivations, threshold = ctx.saved_tensors
        near = (preactivations - threshold).abs() < BANDWIDTH / 2
        of_threshold = -(threshold / BANDWIDTH) * (gradient * near).sum(0)
        return gradient * (preactivations > threshold), of_threshold


def jump_relu(weights: LayerWeights, inputs: Float[Tensor, "B d"]) -> ManyActive:
    """Keep what exceeds its feature's threshold."""
    preactivations = _preactivations(weights, inputs)
    active = _Jump.apply(preactivations, weights.log_threshold)
    norms = weights.norms()
    penalty = torch.tanh(SLOPE * active * norms).sum(1).mean()
    below = torch.relu(weights.log_threshold.exp() - preactivations)
    return ManyActive(weights, active, penalty, PULL * (below * norms).sum(1).mean())


def relu(weights: LayerWeights, inputs: Float[Tensor, "B d"]) -> ManyActive:
    """Keep what is positive."""
    active = _preactivations(weights, inputs).relu()
    return ManyActive(weights, active, (active * weights.norms()).sum(1).mean())
