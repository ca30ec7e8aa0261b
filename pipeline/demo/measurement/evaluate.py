"""Quality of the model and its transcoders: accuracy by family, L0, unexplained variance, dead features."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import LlamaForCausalLM

from pipeline.demo.corpus import Batch, Vocabulary, encode_batch
from pipeline.demo.measurement.activations import CHUNK, LayerActivations
from pipeline.demo.prompts import Example
from pipeline.transcoders import TranscoderLayer


@dataclass(frozen=True)
class LayerQuality:
    """Quality of one layer's transcoder as a replacement for its MLP."""

    layer: int
    """The layer."""

    l0: float
    """Mean number of active features a token."""

    fvu: float
    """Fraction of the MLP output's variance that the reconstruction leaves unexplained."""

    dead: int
    """Features that are active on no token."""


def encode_prompts(vocabulary: Vocabulary, examples: Sequence[Example]) -> Batch:
    """Encode prompts with their first answers."""
    return encode_batch(vocabulary, examples, [example.answer for example in examples])


def right(
    model: LlamaForCausalLM, vocabulary: Vocabulary, examples: Sequence[Example]
) -> Bool[Tensor, " prompts"]:
    """Say for each prompt whether the model's most likely next word is one of its answers."""
    batch, found = encode_prompts(vocabulary, examples), []
    for rows in torch.arange(len(batch)).split(CHUNK):
        part = batch.select(rows)
        with torch.no_grad():
            hidden = model.model(input_ids=part.tokens).last_hidden_state
            found.append(model.lm_head(hidden[torch.arange(len(part)), part.last]).argmax(-1))
    words = [vocabulary.words[index] for index in torch.cat(found).tolist()]
    return torch.tensor([word in x.answers for word, x in zip(words, examples, strict=True)])


def accuracy_by_family(
    examples: Sequence[Example], is_right: Bool[Tensor, " prompts"]
) -> dict[str, dict[str, float]]:
    """Return the share of right answers of each family, by side of the split."""
    sides: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for example, value in zip(examples, is_right.tolist(), strict=True):
        sides[example.family]["held_out" if example.held_out else "trained"].append(value)
    return {
        family: {side: sum(values) / len(values) for side, values in found.items()}
        for family, found in sides.items()
    }


def layer_quality(layer: int, dictionary: TranscoderLayer, rows: LayerActivations) -> LayerQuality:
    """Measure one dictionary on recorded activations."""
    features = dictionary.encode(rows.inputs)
    residual = rows.outputs - dictionary.decode(features)
    variance = (rows.outputs - rows.outputs.mean(0)).square().sum()
    active = features != 0
    return LayerQuality(
        layer=layer,
        l0=float(active.sum(1).float().mean()),
        fvu=float(residual.square().sum() / variance),
        dead=int((~active.any(0)).sum()),
    )
