"""What becomes of the model's predictions with a dictionary in the place of its MLPs.

Over the predictions made at held-out tokens that carry features and have a next token, in nats:

    recovered = (CE with means - CE replaced) / (CE with means - CE)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.model import LanguageModel
from pipeline.training.data import padded_passes
from pipeline.training.report.replaced import ablated_mlps, replaced_mlps
from pipeline.transcoders import TranscoderLayer

LOGITS = 1 << 25
"""Logits of one pass."""


@dataclass(frozen=True)
class ModelMetrics:
    """Figures of the whole model."""

    predictions: int
    """Predictions that were compared."""

    ce: float
    """Cross-entropy of the model as it is, nats a token."""

    ce_layers: dict[int, float]
    """The same with one layer's MLP replaced."""

    ce_replaced: float
    """The same with all of the dictionary's layers replaced."""

    ce_means: float
    """The same with each of these MLPs writing its mean."""

    recovered: float
    """Share of the difference between means and model that replacing keeps."""

    kl: float
    """Divergence of the replaced model's predictions from the model's own, nats a token."""

    top_1: float
    """Share of predictions whose most likely token stays."""


@torch.no_grad()
def measure_model(
    model: LanguageModel,
    layers: Mapping[int, TranscoderLayer],
    reads: str,
    means: Mapping[int, Float[Tensor, " d"]],
    sequences: Sequence[np.ndarray],
) -> ModelMetrics:
    """Measure the whole model on sequences.

    Args:
        model: the model.
        layers: the dictionary, in float32 on the model's device.
        reads: hook point that features read.
        means: what each of these MLPs writes on average.
        sequences: held-out ones.

    """
    sums = dict.fromkeys(["ce", "all", "means", *map(str, layers), "kl", "top_1"], 0.0)
    count = 0
    for part in padded_passes(model, sequences, LOGITS // model.model.config.vocab_size):
        tokens = part.tokens
        predicts = part.used[:, :-1] & part.inside[:, 1:]
        answers = tokens[:, 1:][predicts]
        if not len(answers):
            continue
        count += len(answers)
        own = _log_probabilities(model, tokens, predicts)
        sums["ce"] += _cross_entropy(own, answers)
        with replaced_mlps(model, layers, reads, layers):
            replaced = _log_probabilities(model, tokens, predicts)
        sums["all"] += _cross_entropy(replaced, answers)
        sums["kl"] += float((own.exp() * (own - replaced)).sum())
        sums["top_1"] += int((own.argmax(1) == replaced.argmax(1)).sum())
        with ablated_mlps(model, means):
            sums["means"] += _cross_entropy(_log_probabilities(model, tokens, predicts), answers)
        for number in layers:
            with replaced_mlps(model, layers, reads, [number]):
                sums[str(number)] += _cross_entropy(_log_probabilities(model, tokens, predicts), answers)
    mean = {name: total / max(1, count) for name, total in sums.items()}
    at_stake = mean["means"] - mean["ce"]
    return ModelMetrics(
        predictions=count,
        ce=mean["ce"],
        ce_layers={number: mean[str(number)] for number in layers},
        ce_replaced=mean["all"],
        ce_means=mean["means"],
        recovered=(mean["means"] - mean["all"]) / at_stake if at_stake else float("nan"),
        kl=mean["kl"],
        top_1=mean["top_1"],
    )


def _log_probabilities(model: LanguageModel, tokens: Tensor, predicts: Tensor) -> Float[Tensor, "n V"]:
    logits = model.model(input_ids=tokens, use_cache=False).logits[:, :-1][predicts]
    return logits.double().log_softmax(dim=-1)


def _cross_entropy(log_probabilities: Float[Tensor, "n V"], answers: Tensor) -> float:
    return -float(log_probabilities.gather(1, answers[:, None]).sum())
