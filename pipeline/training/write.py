"""Trained layers to files: transcoders in circuit-tracer's format, autoencoders in SAELens'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import TranscoderError
from pipeline.training.config import DictionaryConfig
from pipeline.transcoders import (
    JumpReLU,
    ReLU,
    TopK,
    TranscoderLayer,
    Transcoders,
    load_transcoders,
    write_transcoders,
)

WRITES = "hook_mlp_out"
"""Hook point that transcoders write to: where the MLP's output enters the residual stream."""


def write_dictionary(
    config: DictionaryConfig, layers: Mapping[int, TranscoderLayer], folder: Path, name: str = ""
) -> None:
    """Write a trained dictionary to a new folder.

    Args:
        config: of the dictionary.
        layers: all that were trained.
        folder: output folder, made if missing; refused if it is not empty.
        name: of the set (default: the folder's).

    Raises:
        TranscoderError: the folder is not empty.

    """
    name = name or folder.name
    if config.kind == "sae":
        _write_autoencoders(config, layers, folder)
    else:
        ordered = tuple(layers[number] for number in sorted(layers))
        write_transcoders(Transcoders(ordered, config.reads, WRITES, name), folder, model_name=config.model)


def _write_autoencoders(
    config: DictionaryConfig, layers: Mapping[int, TranscoderLayer], folder: Path
) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise TranscoderError(f"{folder} already holds something: name a folder that does not exist yet.")
    for number, layer in layers.items():
        inside = folder / f"blocks.{number}.{config.reads}"
        inside.mkdir(parents=True)
        tensors = {
            "W_enc": layer.encoder.T.contiguous(),
            "b_enc": layer.encoder_bias,
            "W_dec": layer.decoder[:, 0].contiguous(),
            "b_dec": layer.decoder_bias,
        }
        if isinstance(layer.activation, JumpReLU):
            tensors["threshold"] = layer.activation.threshold
        save_file(tensors, inside / "sae_weights.safetensors")
        (inside / "cfg.json").write_text(json.dumps(_autoencoder_config(config, layer, number), indent=1))


def read_dictionary(config: DictionaryConfig, folder: Path) -> dict[int, TranscoderLayer]:
    """Read a trained dictionary's layers from its files, in float32.

    Raises:
        TranscoderError: the files cannot be read.

    """
    if config.kind != "sae":
        read = load_transcoders(str(folder)).to("cpu", torch.float32)
        return dict(enumerate(read.layers))
    layers = {}
    for path in folder.glob("blocks.*/sae_weights.safetensors"):
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        layers[int(path.parent.name.split(".")[1])] = TranscoderLayer(
            encoder=tensors["W_enc"].T,
            encoder_bias=tensors["b_enc"],
            decoder=tensors["W_dec"][:, None],
            decoder_bias=tensors["b_dec"],
            activation=_read_activation(config, tensors),
        )
    return dict(sorted(layers.items()))


def _read_activation(config: DictionaryConfig, tensors: Mapping[str, torch.Tensor]) -> JumpReLU | TopK | ReLU:
    if "threshold" in tensors:
        return JumpReLU(tensors["threshold"])
    return TopK(config.k, rectified=True) if config.activation == "topk" else ReLU()


def _autoencoder_config(config: DictionaryConfig, layer: TranscoderLayer, number: int) -> dict[str, Any]:
    named: dict[str, Any] = {"architecture": "standard"}
    if isinstance(layer.activation, JumpReLU):
        named = {"architecture": "jumprelu"}
    elif isinstance(layer.activation, TopK):
        named = {"architecture": "topk", "k": layer.activation.k}
    return named | {
        "d_in": layer.encoder.shape[1],
        "d_sae": layer.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "metadata": {"model_name": config.model, "hook_name": f"blocks.{number}.{config.reads}"},
    }
