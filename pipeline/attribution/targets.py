"""Targets of a graph (tokens, directions or features) and the gradients that read them.

By default the most likely next tokens until their probability reaches a share. A token's direction is
its unembedding row minus the mean over the vocabulary, read at the output of the final norm at the last
position; logit soft-capping is left out. A direction that the user gives is used unchanged. A feature's
pre-activation is read by its encoder row, at its own layer and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import TargetError
from pipeline.graph import Prediction, Target
from pipeline.model import FrozenModel, ReplacementModel, token_id, token_text

Direction = tuple[str, float, Tensor]
"""(label, weight, vector of the model's width)."""


@dataclass(frozen=True)
class FeatureTarget:
    """A feature whose pre-activation is to be explained."""

    layer: int
    """Layer whose dictionary it belongs to."""

    position: int
    """Position in the prompt, the opening special token counted; negative ones count from the end."""

    feature: int
    """Its index."""

    weight: float = 1.0
    """Weight beside other targets."""


@dataclass(frozen=True)
class Difference:
    """The logit of one token less that of another."""

    token: int
    """Id of the token whose logit counts."""

    rival: int
    """Id of the token whose logit is subtracted."""

    weight: float = 1.0
    """Weight beside other targets."""


TargetSpec = Sequence[int | str | Direction | Difference | FeatureTarget] | Int[Tensor, " K"] | None
"""Token ids, token strings, differences, directions and features; None for the most likely tokens."""


@dataclass(frozen=True)
class ResolvedTargets:
    """Targets with their gradients in the residual stream."""

    targets: tuple[Target, ...]

    prediction: Prediction
    """The model's own output, whatever was asked for."""

    gradients: Float[Tensor, "K d"]
    """Gradient of each target where it reads."""

    reads: Int[Tensor, "K 2"]
    """(layer, position) where each reads; the number of layers for what reads above them all."""

    values: Float[Tensor, " K"]
    """Value of each target on the prompt, biases included, float64."""

    @property
    def weights(self) -> Float[Tensor, " K"]:
        """Weight of each target."""
        return torch.tensor([target.probability for target in self.targets], device=self.reads.device)


def resolve_targets(
    model: ReplacementModel,
    frozen: FrozenModel,
    targets: TargetSpec,
    max_targets: int,
    target_probability: float,
) -> ResolvedTargets:
    """Turn what the user asked for into targets and gradients.

    Raises:
        TargetError: a token or a feature does not exist, a string is not one token, a direction has a
            wrong shape, or something is named twice.

    """
    if targets is None:
        targets = _most_likely(frozen.logits, max_targets, target_probability)
    elif isinstance(targets, Tensor):
        targets = targets.flatten().tolist()
    if isinstance(targets, str) or not isinstance(targets, Sequence):
        raise TargetError(f"targets are {targets!r:.80}: give a list, also for a single one.")
    if len(targets) == 0:
        raise TargetError(
            "targets are empty: name at least one, or leave them out for the most likely tokens."
        )
    resolver = _Resolver(model, frozen)
    found = [resolver.resolve(index, target) for index, target in enumerate(targets)]
    for target, gradient, _ in found:
        if not torch.isfinite(gradient).all() or not 0 <= target.probability < float("inf"):
            raise TargetError(
                f"target {target.label!r} has weight {target.probability:g} or a vector that is not finite: "
                "weights must be positive numbers and vectors finite."
            )
    ids = [target.token_id for target, *_ in found]
    if len(set(ids)) < len(ids):
        raise TargetError(f"targets {list(targets)!r:.200} repeat a token: name each once.")
    top = (model.n_layers, frozen.n_positions - 1)
    reads = [top if target.layer is None else (target.layer, target.position) for target, *_ in found]
    return ResolvedTargets(
        tuple(target for target, *_ in found),
        resolver.prediction(),
        torch.stack([gradient for _, gradient, _ in found]),
        torch.tensor(reads, device=frozen.tokens.device),
        torch.tensor([value for *_, value in found], dtype=torch.float64),
    )


def _most_likely(logits: Float[Tensor, " V"], max_targets: int, share: float) -> list[int]:
    probabilities, ids = _probabilities(logits).topk(min(max_targets, len(logits)))
    needed = int(torch.searchsorted(probabilities.cumsum(0), share)) + 1
    return ids[:needed].tolist()


def _probabilities(logits: Float[Tensor, " V"]) -> Float[Tensor, " V"]:
    return logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


_Resolved = tuple[Target, Float[Tensor, " d"], float]
"""A target, its gradient in the residual stream where it reads, and its value on the prompt."""


class _Resolver:
    """Resolver of targets into gradients, one after the other."""

    def __init__(self, model: ReplacementModel, frozen: FrozenModel) -> None:
        self._model = model
        self._frozen = frozen
        self._probabilities = _probabilities(frozen.logits)
        self._mean = model.unembedding.mean(0)

    def resolve(self, index: int, target: object) -> _Resolved:
        if isinstance(target, FeatureTarget):
            return self._feature(index, target)
        if isinstance(target, Difference):
            return self._difference(index, target)
        if isinstance(target, tuple):
            return self._direction(index, target)
        return self._token(target)

    def _token(self, named: object) -> _Resolved:
        token = token_id(self._model.tokenizer, named, len(self._probabilities))
        vector = self._model.unembedding[token] - self._mean
        probability = self._probabilities[token]
        rank = 1 + int((self._probabilities > probability).sum())
        label = token_text(self._model.tokenizer, token)
        return Target(label, token, probability.item(), rank=rank), *self._above(vector)

    def _difference(self, index: int, wanted: Difference) -> _Resolved:
        tokenizer, size = self._model.tokenizer, len(self._probabilities)
        one, other = (token_id(tokenizer, token, size) for token in (wanted.token, wanted.rival))
        target = Target(
            label=f"{token_text(tokenizer, one)} - {token_text(tokenizer, other)}",
            token_id=self._model.vocabulary_size + index,
            probability=wanted.weight,
            kind="difference",
            difference=(one, other),
        )
        return target, *self._above(self._model.unembedding[one] - self._model.unembedding[other])

    def prediction(self) -> Prediction:
        """Return the most likely token, and how sure the model is."""
        probability, token = self._probabilities.max(-1)
        return Prediction(
            token=token_text(self._model.tokenizer, int(token)),
            token_id=int(token),
            probability=probability.item(),
            entropy=torch.special.entr(self._probabilities).sum().item(),
        )

    def _direction(self, index: int, direction: tuple) -> _Resolved:
        if len(direction) != 3:
            raise TargetError(
                f"direction {index} has {len(direction)} parts: it must be (label, weight, vector)."
            )
        label, weight, vector = direction
        width = self._model.d_model
        if not isinstance(vector, Tensor) or vector.shape != (width,):
            shape = tuple(getattr(vector, "shape", ()))
            raise TargetError(
                f"direction {label!r} has shape {shape}: it must be ({width},), the model's width."
            )
        if not vector.any():
            raise TargetError(f"direction {label!r} is zero everywhere: there is nothing to explain.")
        target = Target(str(label), self._model.vocabulary_size + index, float(weight), kind="direction")
        return target, *self._above(vector.to(self._model.unembedding))

    def _feature(self, index: int, wanted: FeatureTarget) -> _Resolved:
        layer = _within("layer", wanted.layer, self._model.n_layers)
        position = _within("position", wanted.position, self._frozen.n_positions)
        transcoder, frozen = self._model.transcoders.layers[layer], self._frozen.layers[layer]
        feature = _within("feature", wanted.feature, transcoder.encoder.shape[0])
        target = Target(
            label=f"{layer}/{feature}@{position}",
            token_id=self._model.vocabulary_size + index,
            probability=wanted.weight,
            kind="feature",
            layer=layer,
            position=position,
            feature=feature,
        )
        there = frozen.error.device
        row = transcoder.encoder[torch.tensor([feature], device=there)]
        vector = self._frozen.read_back(layer, torch.tensor([position], device=there), row)[0]
        value = _dot(row[0], frozen.read[position]) + float(transcoder.encoder_bias[feature])
        return target, vector.to(self._frozen.tokens.device), value

    def _above(self, vector: Float[Tensor, " d"]) -> tuple[Float[Tensor, " d"], float]:
        """Pull a vector at the final norm's output at the last position back to the residual stream.

        Its product with that output, the value on the prompt, comes along.
        """
        gradient = self._frozen.final_norm.transpose(vector) * self._frozen.final_scale[-1]
        return gradient, _dot(vector, self._frozen.final_output[-1])


def _dot(a: Float[Tensor, " d"], b: Float[Tensor, " d"]) -> float:
    return float(a.double() @ b.to(a.device).double())


def _within(name: str, value: int, size: int) -> int:
    if not -size <= value < size:
        raise TargetError(f"feature target has {name} {value}: it must be from 0 to {size - 1}.")
    return value % size
