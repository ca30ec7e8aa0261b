"""The features that read at one layer, in training: weights, optimiser, thresholds, counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.training.config import ActivationKind
from pipeline.training.feature_shard import FeatureShard
from pipeline.training.recipe import sparsity
from pipeline.training.recipe.normalisation import Normalisation
from pipeline.training.recipe.sparse_code import matmul
from pipeline.training.recipe.weights import LayerWeights

MEMORY = 0.99
"""Share of the old threshold that a step keeps."""

GAIN = 0.02
"""Power of (active / wanted) by which the weight of a penalty grows in a step."""


@dataclass
class TrainedLayer:
    """The features that read at one layer, or a shard of them."""

    weights: LayerWeights
    normalisation: Normalisation
    activation: ActivationKind

    silent: Int[Tensor, " F"]
    """Tokens since each feature was active."""

    threshold: float = 0.0
    """Mean cut of BatchTopK."""

    cut: float = 0.0
    """Cut of the last step."""

    penalty: float = 1.0
    """Weight of the sparsity loss of JumpReLU and ReLU."""

    mean_loss: float = 0.0
    """Mean loss of the last hundred steps or so."""

    held_out: list[tuple[int, float]] = field(default_factory=list)
    """Steps before which the FVU of held-out rows was measured, and that."""

    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Adam's moments of each parameter."""

    @classmethod
    def of(
        cls, weights: LayerWeights, normalisation: Normalisation, activation: ActivationKind
    ) -> TrainedLayer:
        """Return a layer that was not trained yet."""
        named = weights.named()
        for tensor in named.values():
            tensor.requires_grad_()
        return cls(
            weights=weights,
            normalisation=normalisation,
            activation=activation,
            silent=torch.zeros(len(weights.encoder), dtype=torch.long, device=weights.encoder.device),
            moments={name: (torch.zeros_like(t), torch.zeros_like(t)) for name, t in named.items()},
        )

    def codes(
        self, pieces: Sequence[Float[Tensor, "P d"]], k: int, shard: FeatureShard
    ) -> Iterator[sparsity.Code]:
        """Yield the features that are active on each piece of a batch of normalised inputs."""
        if self.activation == "batchtopk":
            yield from sparsity.batch_top_k(self.weights, pieces, k, self.cut, shard)
            return
        for inputs in pieces:
            if self.activation == "topk":
                yield sparsity.top_k(self.weights, inputs, k)
            elif self.activation == "jumprelu":
                yield sparsity.jump_relu(self.weights, inputs)
            else:
                yield sparsity.relu(self.weights, inputs)

    def base(self, inputs: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
        """Return what is written beside the features: the bias, and what the skip path carries."""
        if self.weights.skip is None:
            return self.weights.decoder_bias.expand(len(inputs), -1)
        return matmul(inputs, self.weights.skip) + self.weights.decoder_bias

    def revived(self, inputs: Float[Tensor, "B d"], dead: Bool[Tensor, " F"], k: int) -> list[Tensor]:
        """Return what the k most active dead features of each row would write, by layer written to."""
        which = dead.nonzero().squeeze(1)
        active = (matmul(inputs, self.weights.encoder[which].T) + self.weights.encoder_bias[which]).relu()
        if k < len(which):
            best = active.topk(k, dim=1)
            active = torch.zeros_like(active).scatter(1, best.indices, best.values)
        return [matmul(active, decoder[which]) for decoder in self.weights.decoders]

    @torch.no_grad()
    def observe(self, seen: sparsity.Seen, rows: int, l0: float, k: int, loss: float) -> None:
        """Count what a step has seen."""
        self.silent += rows
        self.silent[seen.active] = 0
        if seen.cut:
            memory = MEMORY if self.threshold else 0.0
            self.threshold = memory * self.threshold + (1 - memory) * seen.cut
        self.cut = seen.cut
        if seen.is_penalised:
            self.penalty *= min(4.0, max(0.25, l0 / k)) ** GAIN
        self.mean_loss = loss if not self.mean_loss else MEMORY * self.mean_loss + (1 - MEMORY) * loss

    @torch.no_grad()
    def update(self, step: int, rate: float, scale: float, betas: tuple[float, float]) -> None:
        """Take one step of Adam with the gradients there are, times a scale, and clear them."""
        for name, parameter in self.weights.named().items():
            first, second = self.moments[name]
            gradient = parameter.grad
            if scale != 1:
                gradient.mul_(scale)
            first.lerp_(gradient, 1 - betas[0])
            second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            size = (second / (1 - betas[1] ** (step + 1))).sqrt_().add_(EPSILON)
            parameter.addcdiv_(first, size, value=-rate / (1 - betas[0] ** (step + 1)))
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a training needs to go on, but for a few numbers, by name."""
        named = {f"weights.{name}": tensor.detach() for name, tensor in self.weights.named().items()}
        named |= {f"first.{name}": pair[0] for name, pair in self.moments.items()}
        named |= {f"second.{name}": pair[1] for name, pair in self.moments.items()}
        named |= {f"normalisation.{name}": tensor for name, tensor in self.normalisation.state().items()}
        return named | {"silent": self.silent}

    def numbers(self) -> dict[str, Any]:
        """Return the few numbers."""
        return {name: getattr(self, name) for name in NUMBERS} | {"held_out": list(self.held_out)}

    @classmethod
    def restored(
        cls,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        activation: ActivationKind,
        device: torch.device,
    ) -> TrainedLayer:
        """Return the layer that `tensors` and `numbers` described."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        # Copies: training writes into them, and what they came from may be a file.
        weights = {name: t.to(device, copy=True).requires_grad_() for name, t in under("weights.").items()}
        first, second = under("first."), under("second.")
        return cls(
            weights=LayerWeights.of(weights),
            normalisation=Normalisation.of(under("normalisation.")),
            activation=activation,
            silent=tensors["silent"].to(device, copy=True),
            moments={n: (first[n].to(device, copy=True), second[n].to(device, copy=True)) for n in weights},
            held_out=[(step, fvu) for step, fvu in numbers["held_out"]],
            **{name: numbers[name] for name in NUMBERS},
        )


NUMBERS = ("threshold", "cut", "penalty", "mean_loss")
EPSILON = 1e-10
"""Of Adam: gradients of rare features are small where the loss is a share of variance."""
