"""Features that tell a semantic class: the best single one of each class, chosen on training texts.

A feature says yes to a text if it is above a threshold anywhere in it. Feature and threshold of a class are
those with the best F1 on training texts; F1 on held-out texts is what counts. Beside it stands the F1 of
always saying yes: 2 p / (1 + p) for a class that p of the texts belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import LlamaForCausalLM

from pipeline.english.model import padded
from pipeline.english.tokenizer import PAD
from pipeline.model import architecture_of, record
from pipeline.transcoders import Transcoders

AT_ONCE = 256
"""Texts of one forward pass."""

SHARES = (0.0, 0.25, 0.5)
"""Thresholds that are tried, as shares of a feature's strongest activation on training texts."""


@dataclass(frozen=True)
class ClassFeature:
    """The feature that tells a class best."""

    semantic_class: str
    layer: int
    feature: int
    threshold: float
    """Activation above which it says yes."""

    train_f1: float
    """On the texts that it was chosen on."""

    f1: float
    """On held-out texts."""

    always_yes: float
    """F1 of saying yes to every held-out text."""


# T texts, F features, C classes
def class_features(
    model: LlamaForCausalLM,
    transcoders: Transcoders,
    train: tuple[Sequence[Sequence[int]], Sequence[str]],
    held_out: tuple[Sequence[Sequence[int]], Sequence[str]],
    classes: Sequence[str],
) -> list[ClassFeature]:
    """Find each class's feature.

    Args:
        model: the model, in float32.
        transcoders: its transcoders, in float32.
        train: texts as token ids, and their classes, to choose on.
        held_out: the same, to measure on.
        classes: to find features of.

    """
    strengths = strongest_activations(model, transcoders, train[0])
    measured = strongest_activations(model, transcoders, held_out[0])
    labels, held_out_labels = (_one_hot(names, classes) for names in (train[1], held_out[1]))
    best: dict[str, ClassFeature] = {}
    for layer, (chosen_on, measured_on) in enumerate(zip(strengths, measured, strict=True)):
        for share in SHARES:
            thresholds = share * chosen_on.max(0)
            train_f1 = f1_scores(chosen_on > thresholds, labels)
            held_out_f1 = f1_scores(measured_on > thresholds, held_out_labels)
            for index, name in enumerate(classes):
                feature = int(train_f1[:, index].argmax())
                score = float(train_f1[feature, index])
                if name not in best or score > best[name].train_f1:
                    share_of_all = float(held_out_labels[:, index].mean())
                    best[name] = ClassFeature(
                        semantic_class=name,
                        layer=layer,
                        feature=feature,
                        threshold=float(thresholds[feature]),
                        train_f1=score,
                        f1=float(held_out_f1[feature, index]),
                        always_yes=2 * share_of_all / (1 + share_of_all),
                    )
    return [best[name] for name in classes]


@torch.no_grad()
def strongest_activations(
    model: LlamaForCausalLM, transcoders: Transcoders, texts: Sequence[Sequence[int]]
) -> list[Float[np.ndarray, "T F"]]:
    """Return each feature's strongest activation in each text, layer by layer; `<bos>` is left out."""
    found: list[list[Tensor]] = [[] for _ in transcoders.layers]
    with record(model, architecture_of(model.config), ["mlp_norm.output"]) as recorded:
        for part in _parts(texts):
            tokens = padded(part)
            model.base_model(input_ids=tokens)
            inside = (tokens != PAD)[:, 1:, None]
            for number, layer in enumerate(transcoders.layers):
                features = layer.encode(recorded["mlp_norm.output", number][:, 1:])
                found[number].append((features * inside).amax(1))
    return [torch.cat(parts).numpy() for parts in found]


def f1_scores(says: Bool[np.ndarray, "T F"], labels: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "F C"]:
    """Return the F1 of each feature for each class: 2 hits / (yes + members)."""
    hits = says.astype(np.float32).T @ labels
    return 2 * hits / np.maximum(says.sum(0)[:, None] + labels.sum(0)[None, :], 1)


def _one_hot(names: Sequence[str], classes: Sequence[str]) -> Float[np.ndarray, "T C"]:
    return (np.array(names)[:, None] == np.array(classes)[None, :]).astype(np.float32)


def _parts(texts: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    for start in range(0, len(texts), AT_ONCE):
        yield texts[start : start + AT_ONCE]
