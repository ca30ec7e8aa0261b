"""The activations of chosen features.

Legend: B rows (or prompts), T positions, d model width, F features of a layer, n chosen cells.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.transcoders import Activation, TranscoderLayer, per_feature


def activations_of(
    layer: TranscoderLayer, inputs: Float[Tensor, "n d"], features: Int[Tensor, " n"], raw: bool = False
) -> Float[Tensor, " n"]:
    """Return the activation of one feature for each input.

    Args:
        layer: the features' layer.
        inputs: inputs of the transcoder, one row per feature.
        features: feature index for each row.
        raw: pre-activations instead.

    """
    if layer.ranks and not raw:
        return layer.encode(inputs).gather(1, features[:, None])[:, 0]  # the others decide who is active
    preactivations = (inputs * layer.encoder[features]).sum(-1) + layer.encoder_bias[features]
    return preactivations if raw else _only(layer.activation, features)(preactivations)


def activation_grid(
    layer: TranscoderLayer,
    inputs: Float[Tensor, "B T d"],
    cells: Int[Tensor, "n 2"],
    raw: bool = False,
) -> Float[Tensor, "B n"]:
    """Return the activations of the same (position, feature) cells in every row.

    Args:
        layer: the features' layer.
        inputs: inputs of the transcoder.
        cells: (position, feature) of each cell.
        raw: pre-activations instead.

    """
    positions, features = cells.unbind(1)
    if layer.ranks and not raw:
        used, index = positions.unique(return_inverse=True)
        encoded = layer.encode(inputs[:, used].flatten(0, 1)).unflatten(0, (len(inputs), -1))
        return encoded[:, index, features]
    preactivations = torch.einsum("bnd,nd->bn", inputs[:, positions], layer.encoder[features])
    preactivations = preactivations + layer.encoder_bias[features]
    return preactivations if raw else _only(layer.activation, features)(preactivations)


def _only(activation: Activation, features: Int[Tensor, " n"]) -> Activation:
    """Return the activation function of chosen features."""
    return per_feature(activation, lambda part: part[features])
