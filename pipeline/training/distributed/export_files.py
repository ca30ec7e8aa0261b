"""A unit's exported layers as tensors of one file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pipeline.training.training_state import TrainingState
from pipeline.transcoders import JumpReLU, ReLU, TopK, TranscoderLayer

STATE = "state."
"""In front of the names of tensors that are of the training, not of the dictionary."""

IN_REPORTS = ("normalisation.", "silent")
"""Tensors of a training's state that its report is on."""


def as_tensors(
    layers: Mapping[int, TranscoderLayer], state: TrainingState
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return layers, whose weights are in memory, with what the report says of their training."""
    tensors: dict[str, Tensor] = {}
    info: dict[str, Any] = {}
    for number, layer in layers.items():
        named = {
            "encoder": layer.encoder,
            "encoder_bias": layer.encoder_bias,
            "decoder": layer.decoder,
            "decoder_bias": layer.decoder_bias,
            "skip": layer.skip,
            "threshold": layer.activation.threshold if isinstance(layer.activation, JumpReLU) else None,
        }
        found = {f"{number}.{name}": tensor for name, tensor in named.items() if tensor is not None}
        tensors |= {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
        info[str(number)] = {"k": layer.activation.k if isinstance(layer.activation, TopK) else None}
    for name, tensor in state.tensors.items():
        if name.partition(".")[2].startswith(IN_REPORTS):
            tensors[f"{STATE}{name}"] = tensor
    return tensors, {"layers": info, "state": state.info}


def training_state(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> TrainingState:
    """Return what the report needs of the state that `as_tensors` was given."""
    own = {n.removeprefix(STATE): t for n, t in tensors.items() if n.startswith(STATE)}
    return TrainingState(own, info["state"])


def from_tensors(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> dict[int, TranscoderLayer]:
    """Return the layers that `as_tensors` wrote."""
    layers = {}
    for number, other in info["layers"].items():
        prefix = f"{number}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        threshold, k = own.pop("threshold", None), other["k"]
        activation = TopK(k, rectified=True) if k is not None else ReLU()
        layers[int(number)] = TranscoderLayer(
            **own, activation=activation if threshold is None else JumpReLU(threshold)
        )
    return layers
