"""Features of one state: active at the last token of its two-hop prompts and of no other state's.

Measured over all two-hop prompts, so a feature that counts as selective has been quiet on some 600
prompts about other states.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaForCausalLM

from pipeline.demo.corpus import Vocabulary
from pipeline.demo.measurement.activations import mlp_activations
from pipeline.demo.measurement.evaluate import encode_prompts
from pipeline.demo.prompts import fact_examples
from pipeline.transcoders import Transcoders

WITHIN = 0.8
"""Least share of the state's own prompts on which a selective feature is active."""

ELSEWHERE = 0.01
"""Highest share of other states' prompts on which it is active."""


@dataclass(frozen=True)
class StateFeature:
    """A feature that is active for one state only."""

    state: str
    """The state."""

    layer: int
    """The feature's layer."""

    feature: int
    """The feature's index in its layer."""

    within: float
    """Share of the state's two-hop prompts on which it is active."""

    elsewhere: float
    """Share of the other states' two-hop prompts on which it is active."""

    activation: float
    """Mean activation on the state's prompts."""

    promotes: tuple[str, ...]
    """Words whose logits its decoder row raises most by itself."""


def state_features(
    model: LlamaForCausalLM, vocabulary: Vocabulary, transcoders: Transcoders
) -> list[StateFeature]:
    """Find all state-selective features, strongest first within a layer."""
    examples = [example for example in fact_examples() if example.family == "two_hop"]
    layers = mlp_activations(model, encode_prompts(vocabulary, examples), last_only=True)
    subjects = [example.subject for example in examples]
    found = []
    for layer, (dictionary, rows) in enumerate(zip(transcoders.layers, layers, strict=True)):
        for state, index, *figures in _selective(dictionary.encode(rows.inputs), subjects):
            words = _promoted_words(model, vocabulary, dictionary.decoder_rows(torch.tensor([index]), 0)[0])
            found.append(StateFeature(state, layer, index, *figures, words))
    return sorted(found, key=lambda item: (item.layer, -item.activation))


def _selective(features: Float[Tensor, "prompts features"], subjects: Sequence[str]) -> list[tuple]:
    active, found = (features != 0).float(), []
    for state in dict.fromkeys(subjects):
        own = torch.tensor([subject == state for subject in subjects])
        within, elsewhere = active[own].mean(0), active[~own].mean(0)
        strength = features[own].mean(0)
        for index in ((within >= WITHIN) & (elsewhere <= ELSEWHERE)).nonzero().flatten().tolist():
            figures = (within, elsewhere, strength)
            found.append((state, index, *(round(float(figure[index]), 4) for figure in figures)))
    return found


def _promoted_words(
    model: LlamaForCausalLM, vocabulary: Vocabulary, direction: Float[Tensor, " d_model"], count: int = 4
) -> tuple[str, ...]:
    logits = model.lm_head.weight @ (model.model.norm.weight * direction)
    return tuple(vocabulary.words[token] for token in logits.topk(count).indices.tolist())
