"""Steering: the same prompt continued at several strengths of one set of interventions.

Strength 1 holds features at the values given, strength s at s times that (a factor f becomes
1 + s (f - 1)); strength 0 is the clean model, to which logits are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.errors import ConfigurationError, InterventionError
from pipeline.features import parse_feature
from pipeline.intervention.generate import Continuation, generate
from pipeline.intervention.intervention import Intervention
from pipeline.model import ReplacementModel, token_text

NEW_TOKENS = 20
"""Default number of tokens to generate."""


@dataclass(frozen=True)
class Watched:
    """One token's logit where the continuation begins."""

    token_id: int
    token: str
    logit: float
    change: float
    """Against the clean model."""


@dataclass(frozen=True)
class Steered:
    """One prompt at one strength."""

    prompt: str
    strength: float
    continuation: Continuation
    logits: tuple[Watched, ...]


def parse_intervention(text: str) -> Intervention:
    """Read `2/350=VALUE`, `2/350=xFACTOR` or, for one position, `2/350@8=...`.

    Raises:
        InterventionError: it is written otherwise.

    """
    named, equals, amount = text.strip().partition("=")
    kind = "factor" if amount.startswith("x") else "value"
    try:
        number = float(amount.removeprefix("x"))
    except ValueError:
        number = None
    if not equals or number is None:
        raise InterventionError(
            f"intervention {text!r} must be written 2/350=4 (set feature 350 of layer 2 to 4), 2/350=x0 "
            "(multiply its activation) or, at one position, 2/350@8=4."
        )
    try:
        feature = parse_feature(named)
    except ConfigurationError as error:
        raise InterventionError(f"intervention {text!r}: {error}") from error
    position = "all" if feature.position is None else feature.position
    return Intervention(feature.layer, position, feature.feature, **{kind: number})


def at_strength(interventions: Sequence[Intervention], strength: float) -> list[Intervention]:
    """Scale interventions; at strength 0 there are none."""
    return [_scaled(item, strength) for item in interventions] if strength else []


def _scaled(item: Intervention, strength: float) -> Intervention:
    if item.factor is None:
        return Intervention(item.layer, item.position, item.feature, value=strength * item.value)
    return Intervention(item.layer, item.position, item.feature, factor=1 + strength * (item.factor - 1))


def steer(
    model: ReplacementModel,
    prompt: str,
    interventions: Sequence[Intervention],
    strengths: Sequence[float],
    tokens: Sequence[int] = (),
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Steered]:
    """Continue a prompt with the clean model and at each strength, side by side.

    Args:
        model: the model with its transcoders.
        prompt: the text.
        interventions: changes at strength 1.
        strengths: the strengths besides 0.
        tokens: tokens whose logits to report; by default the likeliest token of each strength.
        max_new_tokens: most tokens to add; by default 20, or what the model's context has room for.
        temperature: 0 takes the most likely token; above, samples.
        seed: of the sampling.

    Raises:
        PromptError: the prompt cannot be traced.
        InterventionError: a layer, position or feature does not exist, or an option is out of range.

    """
    every = list(dict.fromkeys([0.0, *strengths]))
    if max_new_tokens is None:
        max_new_tokens = _room(model, prompt)
    rows = [at_strength(interventions, strength) for strength in every]
    said = generate(model, prompt, rows, max_new_tokens, temperature=temperature, seed=seed)
    ids = list(tokens) or list(dict.fromkeys(int(row.logits.argmax()) for row in said))
    names = [token_text(model.tokenizer, token) for token in ids]
    logits = torch.stack([row.logits[ids].float() for row in said])
    return [
        Steered(prompt, strength, row, tuple(map(Watched, ids, names, values.tolist(), change.tolist())))
        for strength, row, values, change in zip(every, said, logits, logits - logits[0], strict=True)
    ]


def _room(model: ReplacementModel, prompt: str) -> int:
    """Return how many tokens to add: what the context has room for, but no more than usual."""
    if model.context_length is None:
        return NEW_TOKENS
    return max(1, min(NEW_TOKENS, model.context_length - len(model.ensure_tokenized(prompt))))
