"""Write transcoders in circuit-tracer's format, whatever they were read from, one layer at a time.

Tensors are written unchanged, so that reading the files again gives the same bits; only what a
format asks to fold (a standardiser) is computed, in float32. The configuration comes last: a folder with
a `config.yaml` is complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU, TopK
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder


def write_transcoders(
    transcoders: Transcoders, folder: Path, dtype: torch.dtype | None = None, model_name: str = ""
) -> None:
    """Write transcoders to a new folder.

    Args:
        transcoders: a set read from any format.
        folder: output folder, made if missing; refused if it is not empty.
        dtype: element type to write; by default each tensor's own.
        model_name: the model it is for, where that is known.

    Raises:
        TranscoderError: the folder is not empty, or one configuration cannot say the layers' activations.

    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TranscoderError(f"{folder} already holds something: name a folder that does not exist yet.")
    config = _config(transcoders, model_name)
    folder.mkdir(parents=True, exist_ok=True)
    for index, layer in enumerate(transcoders.layers):
        if config["model_kind"] == "transcoder_set":
            files = {f"layer_{index}": _per_layer(layer) | _k("k", layer, config)}
        else:
            files = _cross_layer(layer, index, transcoders.n_layers)
            files[f"W_enc_{index}"] |= _k(f"k_{index}", layer, config)
        for name, tensors in files.items():
            _save(tensors, folder / f"{name}.safetensors", dtype)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def misread_by_circuit_tracer(transcoders: Transcoders) -> list[str]:
    """Return what circuit-tracer up to 0.5.0 reads otherwise once these transcoders are in its format.

    Its loader knows ReLU and JumpReLU, takes a cross-layer set's activation from layer 0, and reads a skip
    path of per-layer sets alone; the rest it leaves out without a word.
    """
    layers = transcoders.layers
    kinds = [type(_gate(layer.activation)) for layer in layers]
    cross_layer = _is_cross_layer(transcoders)
    found = []
    if per_layer_k := "k" not in _config(transcoders, "") and TopK in kinds:
        found.append("k differs by layer (or some have none): it refuses the files")
    elif TopK in kinds:
        found.append("TopK is read as ReLU: every positive feature is active")
    if any(isinstance(layer.activation, Gated) for layer in layers):
        found.append("a weight or an offset of the activation is unknown to it")
    if cross_layer and any(layer.skip is not None for layer in layers):
        found.append("the skip paths of a cross-layer set are left out of what it reconstructs")
    if cross_layer and not per_layer_k and len(set(kinds)) > 1:
        found.append("layers differ in their activation: layer 0's is taken for all")
    if cross_layer and len({layer.n_features for layer in layers}) > 1:
        found.append("layers differ in their number of features: it refuses the files")
    return found


def _is_cross_layer(transcoders: Transcoders) -> bool:
    return any(layer.decoder.shape[1] > 1 for layer in transcoders.layers)


def _config(transcoders: Transcoders, model_name: str) -> dict[str, Any]:
    config = {
        "model_kind": "cross_layer_transcoder" if _is_cross_layer(transcoders) else "transcoder_set",
        "model_name": model_name,
        "feature_input_hook": transcoders.input_hook,
        "feature_output_hook": transcoders.output_hook,
        "scan": transcoders.name,
    }
    activations = [layer.activation for layer in transcoders.layers]
    top_k = [gate for gate in map(_gate, activations) if isinstance(gate, TopK)]
    if len({activation.rectified for activation in top_k}) > 1:
        raise TranscoderError(
            f"transcoders {transcoders.name!r} have rectified and unrectified TopK in one set, which "
            "circuit-tracer's format cannot say: convert them apart."
        )
    if top_k and top_k[0].rectified:
        config["rectified"] = True
    if len(top_k) == len(activations) and len(set(top_k)) == 1:
        config |= {"activation": "topk", "k": top_k[0].k}
    return config


def _k(key: str, layer: TranscoderLayer, config: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensor that says k where the configuration does not, because layers differ in it."""
    gate = _gate(layer.activation)
    if "k" in config or not isinstance(gate, TopK):
        return {}
    return {key: torch.tensor(gate.k)}


def _gate(activation: Activation) -> ReLU | JumpReLU | TopK:
    return activation.gate if isinstance(activation, Gated) else activation


def _numbers(activation: Activation, threshold: str, weight: str, offset: str) -> dict[str, Tensor]:
    """Return an activation's numbers, one a feature, by the names of their tensors."""
    gate, found = _gate(activation), {}
    if isinstance(gate, JumpReLU):
        found[threshold] = gate.threshold
    if isinstance(activation, Gated):
        found |= {weight: activation.weight, offset: activation.offset}
    return {name: values for name, values in found.items() if values is not None}


def _per_layer(layer: TranscoderLayer) -> dict[str, Tensor]:
    tensors = {
        "W_enc": _encoder(layer),
        "b_enc": layer.encoder_bias,
        "W_dec": _decoder(layer)[:, 0],
        "b_dec": layer.decoder_bias,
    }
    if layer.skip is not None:
        tensors["W_skip"] = layer.skip.T
    names = (f"activation_function.{part}" for part in ("threshold", "weight", "offset"))
    return tensors | _numbers(layer.activation, *names)


def _cross_layer(layer: TranscoderLayer, index: int, n_layers: int) -> dict[str, dict[str, Tensor]]:
    encoder = {
        f"W_enc_{index}": _encoder(layer),
        f"b_enc_{index}": layer.encoder_bias,
        f"b_dec_{index}": layer.decoder_bias,
    }
    if layer.skip is not None:
        encoder[f"W_skip_{index}"] = layer.skip
    encoder |= _numbers(layer.activation, *(f"{part}_{index}" for part in ("threshold", "weight", "offset")))
    decoder = _decoder(layer)
    # The format has a row for every layer above; a set that writes to fewer writes zeros to the others.
    above = decoder.new_zeros(decoder.shape[0], n_layers - index - decoder.shape[1], decoder.shape[2])
    decoder = torch.cat((decoder, above), dim=1) if above.numel() else decoder
    return {f"W_enc_{index}": encoder, f"W_dec_{index}": {f"W_dec_{index}": decoder}}


def _encoder(layer: TranscoderLayer) -> Tensor:
    return layer.encoder.whole() if isinstance(layer.encoder, StoredEncoder) else layer.encoder


def _decoder(layer: TranscoderLayer) -> Tensor:
    return layer.decoder.whole() if isinstance(layer.decoder, StoredDecoder) else layer.decoder


def _save(tensors: dict[str, Tensor], path: Path, dtype: torch.dtype | None) -> None:
    written = {
        key: tensor.to(dtype).contiguous() if dtype and tensor.is_floating_point() else tensor.contiguous()
        for key, tensor in tensors.items()
    }
    save_file(written, path)
