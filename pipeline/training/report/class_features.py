"""Features that tell classes of documents apart: sparse probing with one feature.

A feature says yes to a sequence if it exceeds a threshold anywhere in it. Feature and threshold of a class
are those with the best F1 on training text; F1 on held-out text is what counts. Beside it stands the F1 of
always saying yes, 2 p / (1 + p) for a class that p of the text belongs to. Legend: T sequences, F features,
C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from pipeline.training.data import ActivationReader, TokenSet, TrainingTokens, padded_passes
from pipeline.transcoders import TranscoderLayer

SHARES = (0.0, 0.25, 0.5)
"""Thresholds that are tried, as shares of a feature's strongest activation on training text."""

MOST_SEQUENCES, MOST_NUMBERS = 12_000, 1 << 27
"""Sequences of each set that are looked at; fewer where features are many."""

FEWEST = 10
"""Sequences of a class, in each set, below which it is left out."""


@dataclass(frozen=True)
class ClassFeature:
    """The feature that tells a class best."""

    label: str
    layer: int
    feature: int
    threshold: float
    """Activation above which it says yes."""

    train_f1: float
    """On the text that it was chosen on."""

    f1: float
    """On held-out text."""

    always_yes: float
    """F1 of saying yes to all held-out text."""

    held_out: int
    """Held-out sequences of the class, which `f1` is measured on."""


@dataclass(frozen=True)
class _Probed:
    """Sequences of one set: each feature's strongest activation, by layer, and who is of which class."""

    strongest: dict[int, Float[np.ndarray, "T F"]]
    members: Float[np.ndarray, "T C"]


def class_features(
    layers: Mapping[int, TranscoderLayer], reader: ActivationReader, tokens: TrainingTokens
) -> list[ClassFeature]:
    """Find each class's feature; none where the text has no label.

    Args:
        layers: the dictionary, in float32.
        reader: reads these layers' rows.
        tokens: of the text.

    """
    labels = tokens.description.classes
    if not labels:
        return []
    train, held_out = (_probe(layers, reader, part, len(labels)) for part in (tokens.train, tokens.held_out))
    best: dict[int, ClassFeature] = {}
    for layer in layers:
        for share in SHARES:
            thresholds = share * train.strongest[layer].max(0)
            scores = f1_scores(train.strongest[layer] > thresholds, train.members)
            measured = f1_scores(held_out.strongest[layer] > thresholds, held_out.members)
            for number, label in enumerate(labels):
                feature, of_all = int(scores[:, number].argmax()), float(held_out.members[:, number].mean())
                members = int(held_out.members[:, number].sum())
                score = float(scores[feature, number])
                if number in best and score <= best[number].train_f1:
                    continue
                best[number] = ClassFeature(
                    label=label,
                    layer=layer,
                    feature=feature,
                    threshold=float(thresholds[feature]),
                    train_f1=score,
                    f1=float(measured[feature, number]),
                    always_yes=2 * of_all / (1 + of_all),
                    held_out=members,
                )
    counts = [part.members.sum(0) for part in (train, held_out)]
    return [best[number] for number in best if all(count[number] >= FEWEST for count in counts)]


@torch.no_grad()
def _probe(
    layers: Mapping[int, TranscoderLayer], reader: ActivationReader, part: TokenSet, n_classes: int
) -> _Probed:
    features = sum(layer.n_features for layer in layers.values())
    most = min(MOST_SEQUENCES, max(1, MOST_NUMBERS // features))
    # Spread over the whole set: text is often sorted by class.
    labelled = np.flatnonzero(part.classes >= 0)
    chosen = labelled[:: max(1, -(-len(labelled) // most))]
    passes = list(padded_passes(reader.model, part.sequences(chosen)))
    found: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    for each, rows in zip(passes, reader.passes(passes), strict=True):
        rows_of_sequence = each.used.sum(1).tolist()
        for number, layer in layers.items():
            active = layer.encode(rows[number].inputs.float())
            strongest = [part.amax(0) for part in active.split(rows_of_sequence)]
            found[number].append(torch.stack(strongest).cpu().numpy())
    members = np.eye(n_classes, dtype=np.float32)[part.classes[chosen]]
    return _Probed({layer: np.concatenate(parts) for layer, parts in found.items()}, members)


def f1_scores(says: Bool[np.ndarray, "T F"], members: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "F C"]:
    """Return the F1 of each feature for each class: 2 hits / (yes + members)."""
    hits = says.astype(np.float32).T @ members
    return 2 * hits / np.maximum(says.sum(0)[:, None] + members.sum(0)[None, :], 1)
