"""A trained group to the product's own dictionaries: scales and means folded in, thresholds set.

Matrices are rounded to what the files hold first; biases are folded from the rounded ones, in float64, and
stay float32, as thresholds do. A threshold of BatchTopK is the mean cut over the norm of what the feature
writes; then all of a layer's are scaled together until, on held-out rows, k features of a token are active.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.training.data import Rows
from pipeline.training.feature_shard import WHOLE, FeatureShard
from pipeline.training.group_training import GroupTraining
from pipeline.training.layer_group import LayerGroup
from pipeline.training.recipe import Normalisation, TrainedLayer, kth_largest
from pipeline.transcoders import JumpReLU, ReLU, StoredDecoder, TopK, TranscoderLayer

NEAR = 0.5
"""Pre-activations above this share of their threshold are looked at first when thresholds are set."""

Folded = dict[int, TranscoderLayer]
"""Layers by number."""


def export_layers(training: GroupTraining) -> Folded:
    """Return a trained group's layers, with this process's features, as the files will hold them.

    Raises:
        TrainingError: fewer than k features of a token can be active.

    """
    group, config = training.group, training.group.config
    layers = {number: fold_layer(group, number) for number in group.layers}
    if config.activation not in ("batchtopk", "jumprelu"):
        return layers
    shapes = {number: _shape(layer) for number, layer in group.layers.items()}
    first = {number: _first(layer) for number, layer in group.layers.items()}
    scales = threshold_scales(layers, shapes, first, training.calibration, config.k, group.shard)
    return {
        number: replace(layer, activation=JumpReLU((shapes[number] * scales[number]).float()))
        for number, layer in layers.items()
    }


def join_shards(shards: Sequence[Mapping[int, TranscoderLayer]]) -> Folded:
    """Return layers whose features were exported by several processes, in the order of their ranks."""
    return {number: _joined([shard[number] for shard in shards]) for number in shards[0]}


def _joined(parts: Sequence[TranscoderLayer]) -> TranscoderLayer:
    activation = parts[0].activation
    if isinstance(activation, JumpReLU):
        activation = JumpReLU(torch.cat([part.activation.threshold for part in parts]))
    decoders = [p.decoder.whole() if isinstance(p.decoder, StoredDecoder) else p.decoder for p in parts]
    return replace(
        parts[0],
        encoder=torch.cat([part.encoder for part in parts]),
        encoder_bias=torch.cat([part.encoder_bias for part in parts]),
        decoder=torch.cat(decoders),
        activation=activation,
    )


def fold_layer(group: LayerGroup, number: int) -> TranscoderLayer:
    """Fold scales and means into one layer's weights; thresholds are not yet set to the k that is wanted."""
    layer, dtype = group.layers[number], getattr(torch, group.config.dtype)
    reads, writes = layer.normalisation.reads, layer.normalisation.writes
    weights = {name: tensor.detach().cpu().double() for name, tensor in layer.weights.named().items()}
    encoder = (weights["encoder"] / reads.scale).to(dtype)
    decoders = [
        weights[f"decoder.{above}"] * _written(group, number + above).writes.scale
        for above in range(len(layer.weights.decoders))
    ]
    bias, skip = weights["decoder_bias"] * writes.scale, None
    if "skip" in weights:
        # The file's matrix lies across.
        skip = (weights["skip"] * (writes.scale / reads.scale)).to(dtype)
        bias = bias - reads.mean @ skip.double()
    return TranscoderLayer(
        encoder=encoder,
        encoder_bias=(weights["encoder_bias"] - encoder.double() @ reads.mean).float(),
        decoder=torch.stack(decoders, dim=1).to(dtype),
        decoder_bias=bias.float(),
        activation=_activation(group, layer),
        skip=skip,
    )


def _written(group: LayerGroup, layer: int) -> Normalisation:
    return group.layers[layer].normalisation


def _activation(group: LayerGroup, layer: TrainedLayer) -> ReLU | TopK | JumpReLU:
    if group.config.activation == "topk":
        return TopK(group.config.k, rectified=True)
    if group.config.activation == "relu":
        return ReLU()
    scale = layer.threshold if group.config.activation == "batchtopk" else 1.0
    return JumpReLU((_shape(layer) * scale).float())


def _shape(layer: TrainedLayer) -> Float[Tensor, " F"]:
    """Return thresholds but for the factor that all of a layer's features have in common."""
    weights = layer.weights
    if weights.log_threshold is not None:
        return weights.log_threshold.detach().cpu().double().exp()
    return 1 / weights.norms().detach().cpu().double()


def threshold_scales(
    layers: Mapping[int, TranscoderLayer],
    shapes: Mapping[int, Float[Tensor, " F"]],
    first: Mapping[int, float],
    passes: Callable[[], Iterable[Rows]],
    k: int,
    shard: FeatureShard = WHOLE,
) -> dict[int, float]:
    """Return each layer's factor of its thresholds with which k features of a token are active.

    Args:
        layers: folded, with this process's features.
        shapes: thresholds but for the factor.
        first: guesses of the factors.
        passes: gives held-out rows, in parts, whenever it is called.
        k: active features of a token that are wanted, over all shards.
        shard: the other processes.

    """
    for share in (NEAR, 0.0):
        found: dict[int, list[Tensor]] = {number: [] for number in layers}
        rows = 0
        for part in passes():
            for number, of_layer in part.items():
                found[number].append(
                    _above(layers[number], of_layer.inputs, shapes[number], share * first[number])
                )
            rows += len(of_layer.inputs)
        ratios = {number: torch.cat(parts) for number, parts in found.items()}
        counts = torch.tensor([len(each) for each in ratios.values()])
        shard.all_reduce(counts)
        wanted = k * rows
        if int(counts.min()) >= wanted or share == 0:
            break
    return {
        number: _cut(each, min(wanted, count), shard)
        for (number, each), count in zip(ratios.items(), counts.tolist(), strict=True)
    }


def _first(layer: TrainedLayer) -> float:
    return layer.threshold if layer.weights.log_threshold is None else 1.0


def _above(layer: TranscoderLayer, inputs: Tensor, shape: Tensor, bound: float) -> Float[Tensor, " n"]:
    # As a float32 reader will see it.
    encoder = layer.encoder.float().to(inputs.device)
    values = torch.addmm(layer.encoder_bias.to(inputs.device), inputs.float(), encoder.T)
    ratios = values / shape.float().to(inputs.device)
    return ratios[ratios > bound]


def _cut(ratios: Float[Tensor, " n"], wanted: int, shard: FeatureShard) -> float:
    # Between the last that is to be active and the next: a threshold is exceeded strictly.
    return kth_largest(ratios, wanted, shard) * (1 - 1e-6) if wanted else 0.0
