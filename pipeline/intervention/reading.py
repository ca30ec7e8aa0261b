"""What a dictionary reads, and the activations of chosen features or of all.

Legend: B rows (or prompts), T positions, d model width, F features of a layer, n chosen cells.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.model import NormMap
from pipeline.transcoders import Activation, HookPoint, JumpReLU, TopK, TranscoderLayer


def read_inputs(
    norm_input: Float[Tensor, "B T d"],
    norm_output: Float[Tensor, "B T d"],
    hook: HookPoint,
    norm: NormMap,
    scale: Float[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T d"]:
    """Return what a dictionary that reads at `hook` sees.

    Args:
        norm_input: what enters the MLP's norm.
        norm_output: what leaves it.
        hook: where the dictionary reads.
        norm: the norm's weights.
        scale: one over the norm's denominator where it is held; by default the input's own.

    """
    if hook == "hook_resid_mid":
        return norm_input
    if hook == "mlp.hook_in":
        return norm_output
    centred = norm_input - norm_input.mean(-1, keepdim=True) if norm.centred else norm_input
    return centred * (norm.scale(norm_input) if scale is None else scale)[..., None]


def activations_of(
    layer: TranscoderLayer, inputs: Float[Tensor, "n d"], features: Int[Tensor, " n"], raw: bool = False
) -> Float[Tensor, " n"]:
    """Return the activation of one feature for each input.

    Args:
        layer: the features' layer.
        inputs: what the dictionary reads, one row a feature.
        features: which feature of each.
        raw: pre-activations instead.

    """
    if isinstance(layer.activation, TopK) and not raw:
        return layer.encode(inputs).gather(1, features[:, None])[:, 0]  # the others decide who is active
    preactivations = (inputs * layer.encoder[features]).sum(-1) + layer.encoder_bias[features]
    return preactivations if raw else _only(layer.activation, features)(preactivations)


def activation_grid(
    layer: TranscoderLayer,
    inputs: Float[Tensor, "B T d"],
    places: Int[Tensor, "n 2"],
    raw: bool = False,
) -> Float[Tensor, "B n"]:
    """Return the activations of the same (position, feature) cells in every row.

    Args:
        layer: the features' layer.
        inputs: what the dictionary reads.
        places: (position, feature) of each cell.
        raw: pre-activations instead.

    """
    positions, features = places.unbind(1)
    if isinstance(layer.activation, TopK) and not raw:
        used, place = positions.unique(return_inverse=True)
        encoded = layer.encode(inputs[:, used].flatten(0, 1)).unflatten(0, (len(inputs), -1))
        return encoded[:, place, features]
    preactivations = torch.einsum("bnd,nd->bn", inputs[:, positions], layer.encoder[features])
    preactivations = preactivations + layer.encoder_bias[features]
    return preactivations if raw else _only(layer.activation, features)(preactivations)


def _only(activation: Activation, features: Int[Tensor, " n"]) -> Activation:
    """Return the activation function of chosen features."""
    return JumpReLU(activation.threshold[features]) if isinstance(activation, JumpReLU) else activation
