"""What a graph explains: the tokens or directions whose value at the last position is traced.

By default the most likely next tokens until their probability reaches a share. A token's direction is
its unembedding row minus the mean over the vocabulary, read at the output of the final norm; logit
soft-capping is left out. A direction that the user gives is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import TargetError
from pipeline.graph import Target
from pipeline.model import ReplacementModel

Direction = tuple[str, float, Tensor]
"""(label, weight, vector of the model's width)."""

TargetSpec = Sequence[int] | Sequence[str] | Sequence[Direction] | Int[Tensor, " K"] | None
"""Token ids, token strings, directions, or None for the most likely tokens."""


@dataclass(frozen=True)
class ResolvedTargets:
    """Targets with the vectors that read them."""

    targets: tuple[Target, ...]
    vectors: Float[Tensor, "K d"]


def resolve_targets(
    model: ReplacementModel,
    logits: Float[Tensor, " V"],
    targets: TargetSpec,
    max_targets: int,
    target_probability: float,
) -> ResolvedTargets:
    """Turn what the user asked for into targets and vectors.

    Raises:
        TargetError: a token is unknown, a string is not one token, or a direction has a wrong shape.

    """
    if targets is None:
        ids = _most_likely(logits, max_targets, target_probability)
    elif len(targets) == 0:
        raise TargetError(
            "targets are empty: name at least one, or leave them out for the most likely tokens."
        )
    elif isinstance(targets, Tensor):
        ids = targets.flatten().tolist()
    elif all(isinstance(target, tuple) for target in targets):
        return _directions(model, targets)
    elif all(isinstance(target, str) for target in targets):
        ids = [_token_id(model, text) for text in targets]
    else:
        ids = list(targets)
    return _tokens(model, logits, ids)


def _most_likely(logits: Float[Tensor, " V"], max_targets: int, share: float) -> list[int]:
    if max_targets < 1 or not 0 < share <= 1:
        raise TargetError(
            f"max_targets is {max_targets} and target_probability {share}: "
            "give at least 1 target and a share above 0, at most 1."
        )
    probabilities, ids = logits.softmax(-1).topk(min(max_targets, len(logits)))
    needed = int(torch.searchsorted(probabilities.cumsum(0), share)) + 1
    return ids[:needed].tolist()


def _tokens(model: ReplacementModel, logits: Float[Tensor, " V"], ids: list[int]) -> ResolvedTargets:
    size = len(logits)
    bad = [value for value in ids if not isinstance(value, int) or not 0 <= value < size]
    if bad:
        raise TargetError(f"target {bad[0]!r} is no token id of this model: ids run from 0 to {size - 1}.")
    if len(set(ids)) < len(ids):
        raise TargetError(f"targets {ids} repeat a token: name each once.")
    probabilities = logits.softmax(-1)[ids].tolist()
    unembedding = model.unembedding
    vectors = unembedding[ids] - unembedding.mean(0)
    targets = tuple(
        Target(model.tokenizer.decode([token]), token, probability)
        for token, probability in zip(ids, probabilities, strict=True)
    )
    return ResolvedTargets(targets, vectors)


def _token_id(model: ReplacementModel, text: str) -> int:
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise TargetError(
            f"target {text!r} is {len(ids)} tokens ({ids}) in this model's vocabulary: name a single token "
            "(mind a leading space), or give its id."
        )
    return ids[0]


def _directions(model: ReplacementModel, directions: Sequence[Direction]) -> ResolvedTargets:
    targets, vectors = [], []
    for place, direction in enumerate(directions):
        if len(direction) != 3:
            raise TargetError(
                f"direction {place} has {len(direction)} parts: it must be (label, weight, vector)."
            )
        label, weight, vector = direction
        if not isinstance(vector, Tensor) or vector.shape != (model.d_model,):
            shape = tuple(getattr(vector, "shape", ()))
            raise TargetError(
                f"direction {label!r} has shape {shape}: it must be ({model.d_model},), the model's width."
            )
        targets.append(Target(str(label), model.vocabulary_size + place, float(weight)))
        vectors.append(vector.to(model.unembedding))
    return ResolvedTargets(tuple(targets), torch.stack(vectors))
