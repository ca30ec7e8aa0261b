"""Reader of BluelightAI's cross-layer sets: `model_config.json` and `clt.safetensors`, or several files.

`encoder.W` (L,d,F), `encoder.b` (L,F), `activation.log_threshold` (L,F), `decoder.b` (L,d) and, by
`decoder_layout`, `decoder.decoders.{t}.W` (t+1,F,d) for each layer t written to (output_layer), or
`decoder.decoders.{s}.W` (L-s,F,d) for each layer s that writes (input_layer). Inputs are divided by
`norm_factor_in` (L), outputs multiplied by `norm_factor_out` (L). With a `manifest.json` the same tensors
have short names (`W_enc`, `W_dec_3`) in the files that it lists.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, JumpReLU, ReLU, top_k
from pipeline.transcoders.formats.folder import FileFormat, layer_config, refuse_unknown_keys
from pipeline.transcoders.formats.stacked import same_factor, stacked_layers
from pipeline.transcoders.hook_points import hook_point
from pipeline.transcoders.tensors import TensorFile, open_tensors
from pipeline.transcoders.transcoders import Transcoders
from pipeline.transcoders.weights import WrittenRows
from pipeline.untrusted import cut

_FILE, _CONFIG, _MANIFEST = "clt.safetensors", "model_config.json", "manifest.json"

_LONG_NAMES = {
    "W_enc": "encoder.W",
    "b_enc": "encoder.b",
    "b_dec": "decoder.b",
    "log_threshold": "activation.log_threshold",
}
"""Tensors of a manifest's files, by their names in a single one; norms are called alike."""

_KEYS = {
    *("config_version", "n_layers", "d_in", "d_latent", "activation", "k", "decoder_layout", "input_attr"),
    *("output_attr", "base_model_name", "layer_indices", "layer_attr", "dtype"),
}


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with one set.

    Raises:
        TranscoderError: its configuration says something that is not read, or files are incomplete or
        corrupt.

    """
    path, found = layer_config(folder / _FILE, _CONFIG)
    config = _second_version(found, path) if found.get("config_version") == 2 else found
    refuse_unknown_keys(path, config, _KEYS)
    file = _joined(folder) if (folder / _MANIFEST).is_file() else open_tensors(folder / _FILE)
    encoder = file.matrix("encoder.W", 3)
    n_layers, width, features = encoder.shape
    if config.get("layer_indices") not in (None, list(range(n_layers))):
        raise TranscoderError(
            f"{path}: layer_indices is {cut(config['layer_indices'])}: the set is of some layers, but a "
            "graph "
            "needs all."
        )
    layout = config.get("decoder_layout", "output_layer")
    if layout not in ("output_layer", "input_layer"):
        raise TranscoderError(
            f"{path}: decoder_layout is {cut(layout)}; it must be output_layer or input_layer."
        )
    depth = (lambda i: i + 1) if layout == "output_layer" else (lambda i: n_layers - i)
    decoders = [file.stored(f"decoder.decoders.{i}.W", (depth(i), features, width)) for i in range(n_layers)]

    def decoder(index: int) -> list[WrittenRows]:
        if layout == "output_layer":
            return [WrittenRows(decoders[to], index * features) for to in range(index, n_layers)]
        return [WrittenRows(decoders[index], step * features) for step in range(n_layers - index)]

    reads, writes = (
        file.stored(f"norm_factor_{side}").whole().flatten().float().expand(n_layers)
        for side in ("in", "out")
    )
    has_bias = "decoder.b" in file
    activation = _activation(file, config, path, n_layers, features)
    layers = stacked_layers(
        encoder,
        file.read("encoder.b", (n_layers, features)),
        decoder,
        file.read("decoder.b", (n_layers, width)) if has_bias else torch.zeros(n_layers, width),
        lambda index, _: activation[index],
        same_factor(1 / reads),
        same_factor(writes),
    )
    file.refuse_unused()
    return Transcoders(
        layers,
        hook_point(config.get("input_attr"), "read", path, "input_attr"),
        hook_point(config.get("output_attr"), "write", path, "output_attr"),
        name,
    )


def _activation(
    file: TensorFile, config: dict[str, Any], path: Path, n_layers: int, features: int
) -> list[Activation]:
    named = config.get("activation")
    if named == "jumprelu":
        thresholds = file.read("activation.log_threshold", (n_layers, features)).float().exp()
        return [JumpReLU(thresholds[index]) for index in range(n_layers)]
    if named == "relu":
        return [ReLU()] * n_layers
    if named == "topk":
        return [top_k(config.get("k"), features, path, rectified=True)] * n_layers
    raise TranscoderError(
        f"{path}: activation is {cut(named)}; relu, jumprelu and topk are read, which each layer decides by "
        "itself."
    )


def _second_version(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a configuration of version 2 in the words of version 1."""
    try:
        hooks, architecture = config["base_model"]["hook_points"], config["architecture"]
        return {
            "d_in": hooks["input"]["dim"],
            "d_latent": architecture["d_latent"],
            "activation": architecture["activation"]["type"],
            "k": architecture["activation"].get("k"),
            "decoder_layout": architecture["decoder"].get("layout", "output_layer"),
            "input_attr": hooks["input"]["attr"],
            "output_attr": hooks["output"]["attr"],
            "layer_indices": hooks.get("layer_indices"),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise TranscoderError(f"{path} lacks {error}, which its version 2 needs: fetch it again.") from error


def _joined(folder: Path) -> TensorFile:
    """Return the tensors of all files of a manifest as if they were in one."""
    path, manifest = layer_config(folder / _MANIFEST, _MANIFEST)
    names = manifest.get("files")
    if manifest.get("format") != "layer_weights" or not isinstance(names, list):
        raise TranscoderError(
            f"{path}: format is {cut(manifest.get('format'))}; it must be layer_weights, with files."
        )
    tensors, unreadable = {}, {}
    for name in names:
        if Path(str(name)).name != name:
            raise TranscoderError(f"{path} lists {cut(name)}, but its files lie beside it.")
        part = open_tensors(folder / name)
        tensors |= {_long_name(key): tensor for key, tensor in part.tensors.items()}
        unreadable |= {_long_name(key): dtype for key, dtype in part.unreadable.items()}
    return TensorFile(path, tensors, unreadable)


def _long_name(key: str) -> str:
    decoder = re.fullmatch(r"W_dec_(\d+)", key)
    return f"decoder.decoders.{decoder[1]}.W" if decoder else _LONG_NAMES.get(key, key)


FORMAT = FileFormat(
    name="BluelightAI",
    files="`model_config.json` and `clt.safetensors`, or `manifest.json` and the files that it lists",
    kinds="CLT",
    activations="ReLU, JumpReLU, TopK",
    published="`bluelightai/clt-*`",
    matches=lambda folder: (folder / _CONFIG).is_file(),
    read=read,
)
