"""A last stretch of training with all MLPs replaced, so that layers fit each other and the predictions.

Layers are trained each on what the model's own stream brings. Where all stand in at once, each reads what the
others have left, and errors that cost no variance may cost predictions. So, for some last tokens (after
Karvonen 2025, arXiv 2503.17272), the loss is

    KL(own predictions, replaced) * (E / KL as it is) + E,    E the mean FVU of the layers,

where a layer's error is against what its MLP would write from the same inputs. Both halves weigh the same at
every step. It may move features, whence the report before it stands beside that after it. Adam's steps are
shares of each tensor's size, so they need no normalised activations; thresholds are set again at the end.
A function of the layers, the seed and the text alone: stopped anywhere, it begins again and gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.model import LanguageModel
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import (
    CALIBRATION,
    ActivationReader,
    Pass,
    TrainingOrder,
    TrainingTokens,
    padded_passes,
)
from pipeline.training.export import Folded, threshold_scales
from pipeline.training.report import replaced_mlps
from pipeline.transcoders import JumpReLU, StoredDecoder, TranscoderLayer

RATE = 3e-3
"""Size of the first step as a share of a tensor's root mean square; it falls to 0."""

TOKENS_OF_STEP = 2_048
"""Tokens of one step, padding counted."""

BETAS, EPSILON = (0.9, 0.999), 1e-12

MOVED = 0.9
"""A feature has moved if its encoder's or its decoder's cosine with what it was is below this."""


@dataclass(frozen=True)
class Finished:
    """What a finish made."""

    layers: Folded
    tokens: int
    """Tokens that predictions were compared at."""

    moved: dict[int, float]
    """Share of each layer's features that moved."""


def finish_layers(
    config: DictionaryConfig,
    model: LanguageModel,
    tokens: TrainingTokens,
    layers: Mapping[int, TranscoderLayer],
) -> Finished:
    """Train exported layers further with all of their MLPs replaced.

    Args:
        config: of the dictionary; `finish` says how many tokens.
        model: the model that it is for.
        tokens: of the text, in an order that training has not seen.
        layers: as they were exported.

    """
    weights = {number: _weights(layer, model.device) for number, layer in layers.items()}
    trained = {number: _assembled(layers[number], weights[number], model) for number in layers}
    optimiser = torch.optim.Adam(
        [
            {"params": [tensor], "lr": RATE * float(tensor.detach().square().mean().sqrt())}
            for of_layer in weights.values()
            for tensor in of_layer.values()
        ],
        betas=BETAS,
        eps=EPSILON,
    )
    firsts = [group["lr"] for group in optimiser.param_groups]
    done = 0
    for part in _passes(config, model, tokens):
        for group, first in zip(optimiser.param_groups, firsts, strict=True):
            group["lr"] = first * (1 - done / config.finish)
        optimiser.zero_grad()
        _loss(config, model, trained, part).backward()
        optimiser.step()
        done += int(part.used.sum())
        if done >= config.finish:
            break
    return _finished(config, model, tokens, layers, weights, done)


def _weights(layer: TranscoderLayer, device: torch.device) -> dict[str, Tensor]:
    """Return a layer's numbers as parameters, float32."""
    decoder = layer.decoder.whole() if isinstance(layer.decoder, StoredDecoder) else layer.decoder
    named = {
        "encoder": layer.encoder,
        "encoder_bias": layer.encoder_bias,
        "decoder": decoder,
        "decoder_bias": layer.decoder_bias,
        "skip": layer.skip,
    }
    return {
        name: tensor.detach().to(device, torch.float32, copy=True).requires_grad_()
        for name, tensor in named.items()
        if tensor is not None
    }


def _assembled(
    layer: TranscoderLayer, weights: Mapping[str, Tensor], model: LanguageModel
) -> TranscoderLayer:
    return replace(layer.to(model.device, torch.float32), **weights)


def _passes(config: DictionaryConfig, model: LanguageModel, tokens: TrainingTokens) -> Iterator[Pass]:
    """Yield sequences without end, from the buffer after the last that training has read."""
    order = TrainingOrder(tokens.train.rows, config.batch_size, config.buffer, config.seed)
    buffer = order.locate(config.n_steps - 1)[0] + 1
    while True:
        sequences = tokens.train.sequences(order.sequences_of(buffer))
        yield from padded_passes(model, sequences, TOKENS_OF_STEP)
        buffer += 1


def _loss(
    config: DictionaryConfig, model: LanguageModel, layers: Mapping[int, TranscoderLayer], part: Pass
) -> Float[Tensor, ""]:
    with torch.no_grad():
        own = _log_probabilities(model, part)
    errors: list[Tensor] = []

    def compare(output: Tensor, written: Tensor) -> None:
        target, found = output.detach()[part.used].float(), written[part.used]
        errors.append((target - found).square().sum() / (target - target.mean(0)).square().sum())

    with replaced_mlps(model, layers, config.reads, layers, compare):
        replaced = _log_probabilities(model, part)
    divergence = (own.exp() * (own - replaced)).sum(1).mean()
    error = torch.stack(errors).mean()
    return divergence * (error.detach() / divergence.detach().clamp(min=EPSILON)) + error


def _log_probabilities(model: LanguageModel, part: Pass) -> Float[Tensor, "n V"]:
    logits = model.model(input_ids=part.tokens, use_cache=False).logits[part.used]
    return logits.float().log_softmax(dim=-1)


@torch.no_grad()
def _finished(
    config: DictionaryConfig,
    model: LanguageModel,
    tokens: TrainingTokens,
    before: Mapping[int, TranscoderLayer],
    weights: Mapping[int, Mapping[str, Tensor]],
    done: int,
) -> Finished:
    """Round to what the files hold, and set the thresholds to k active features again."""
    dtype = getattr(torch, config.dtype)
    layers = {}
    for number, layer in before.items():
        own = {name: tensor.detach().cpu() for name, tensor in weights[number].items()}
        matrices = {name: own[name].to(dtype) for name in ("encoder", "decoder", "skip") if name in own}
        layers[number] = replace(layer, **own | matrices)
    moved = {number: _moved(before[number], layer) for number, layer in layers.items()}
    shapes = {
        number: layer.activation.threshold.double()
        for number, layer in layers.items()
        if isinstance(layer.activation, JumpReLU)
    }
    if shapes:
        reader = ActivationReader(model, range(len(layers)), config.reads, config.kind == "sae")
        sequences = tokens.held_out.of_documents(*CALIBRATION, max(1, config.evaluation // 4))
        passes = partial(padded_passes, model, sequences)
        scales = threshold_scales(
            layers, shapes, dict.fromkeys(layers, 1.0), lambda: reader.passes(passes()), config.k
        )
        layers = {
            number: replace(layer, activation=JumpReLU((shapes[number] * scales[number]).float()))
            for number, layer in layers.items()
        }
    return Finished(layers, done, moved)


def _moved(before: TranscoderLayer, after: TranscoderLayer) -> float:
    then, now = (
        [layer.encoder.float(), layer.decoder.flatten(1).float()] for layer in (_whole(before), _whole(after))
    )
    cosines = [torch.nn.functional.cosine_similarity(*pair, dim=1) for pair in zip(then, now, strict=True)]
    return float((torch.stack(cosines).amin(0) < MOVED).float().mean())


def _whole(layer: TranscoderLayer) -> TranscoderLayer:
    decoder = layer.decoder
    return replace(layer, decoder=decoder.whole()) if isinstance(decoder, StoredDecoder) else layer
