"""Activation functions of transcoders: ReLU, JumpReLU, TopK."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ReLU:
    """`max(x, 0)`."""

    def __call__(self, preactivations: Float[Tensor, "T F"]) -> Float[Tensor, "T F"]:
        """Apply to one layer's pre-activations."""
        return preactivations.relu()


@dataclass(frozen=True)
class JumpReLU:
    """`x` where `x` exceeds its feature's threshold, strictly; else 0 (arXiv 2407.14435)."""

    threshold: Float[Tensor, " F"]

    def __call__(self, preactivations: Float[Tensor, "T F"]) -> Float[Tensor, "T F"]:
        """Apply to one layer's pre-activations."""
        return torch.where(preactivations > self.threshold, preactivations, 0.0)


@dataclass(frozen=True)
class TopK:
    """The k largest raw pre-activations of each position, negative ones too; no ReLU (circuit-tracer)."""

    k: int

    def __call__(self, preactivations: Float[Tensor, "T F"]) -> Float[Tensor, "T F"]:
        """Apply to one layer's pre-activations."""
        values, indices = preactivations.topk(self.k, dim=-1)
        return torch.zeros_like(preactivations).scatter_(-1, indices, values)


Activation = ReLU | JumpReLU | TopK
