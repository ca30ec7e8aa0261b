"""Activation functions of transcoders: ReLU, JumpReLU, TopK, and what some libraries add to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.untrusted import cut


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
    """The k largest pre-activations of each position."""

    k: int
    """Number of features kept."""

    rectified: bool = False
    """Negative ones among them count as 0 (sparsify, SAELens); circuit-tracer keeps them."""

    def __call__(self, preactivations: Float[Tensor, "T F"]) -> Float[Tensor, "T F"]:
        """Apply to one layer's pre-activations."""
        values, indices = preactivations.topk(self.k, dim=-1)
        values = values.relu() if self.rectified else values
        return torch.zeros_like(preactivations).scatter_(-1, indices, values)


@dataclass(frozen=True)
class Gated:
    """Another activation decides, by weighted pre-activations, which features are active; those give
    `x + offset`."""

    gate: ReLU | JumpReLU | TopK

    weight: Float[Tensor, " F"] | None = None
    """Factor of the pre-activations that the gate sees (OpenMOSS: the decoder's norm); by default 1."""

    offset: Float[Tensor, " F"] | None = None
    """Added to each active feature (clt-training's `post_enc`); by default 0."""

    def __call__(self, preactivations: Float[Tensor, "T F"]) -> Float[Tensor, "T F"]:
        """Apply to one layer's pre-activations."""
        seen = preactivations if self.weight is None else preactivations * self.weight
        values = preactivations if self.offset is None else preactivations + self.offset
        return torch.where(self.gate(seen) != 0, values, 0.0)


Activation = ReLU | JumpReLU | TopK | Gated


def ranks(activation: Activation) -> bool:
    """Tell if a feature's activation depends on the other features' pre-activations too."""
    return isinstance(activation.gate if isinstance(activation, Gated) else activation, TopK)


def per_feature(activation: Activation, change: Callable[[Tensor], Tensor]) -> Activation:
    """Return an activation whose numbers, one a feature, are changed: moved, or cut down to some features."""
    if isinstance(activation, JumpReLU):
        return JumpReLU(change(activation.threshold))
    if isinstance(activation, Gated):
        weight, offset = (
            None if part is None else change(part) for part in (activation.weight, activation.offset)
        )
        return Gated(per_feature(activation.gate, change), weight, offset)
    return activation


def rectified_threshold(threshold: Float[Tensor, " F"]) -> JumpReLU:
    """Return the JumpReLU of a format that also cuts at 0, whatever its thresholds."""
    return JumpReLU(threshold.clamp(min=0))


def top_k(k: Any, n_features: int, path: Path, rectified: bool = False) -> TopK:
    """Return a TopK with the k that a configuration gives, checked.

    Raises:
        TranscoderError: k is missing or out of range.

    """
    if not isinstance(k, int) or isinstance(k, bool) or not 0 < k <= n_features:
        raise TranscoderError(
            f"{path}: the activation is topk, but k is {cut(k)}; it must be 1 to {n_features}: write "
            "`k: 128`, say, into the configuration, or into a config.yaml of your own that also has "
            "`activation: topk` and lists the layers' files under `transcoders` (they may be hf:// "
            "references)."
        )
    return TopK(k, rectified)
