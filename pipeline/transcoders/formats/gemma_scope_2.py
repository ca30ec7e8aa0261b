"""Reader of GemmaScope 2: one safetensors file a layer (Gemma 3).

`w_enc` (d,F), `w_dec` (F,d), `b_enc`, `b_dec`, `threshold` (F), JumpReLU, and in the affine sets
`affine_skip_connection` (d,d), applied as `x @ A`. In the CLTs `w_dec` is (F,L,d) over all layers of the
model, those below the feature's own included, which it cannot write to and which are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import JumpReLU
from pipeline.transcoders.formats.folder import (
    FileFormat,
    holds,
    layer_config,
    layer_files,
    refuse_unknown_keys,
)
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, clamped_threshold, read_set
from pipeline.transcoders.hook_points import HookPoint, Points, agreed, check_layers, named_point
from pipeline.transcoders.transcoders import Transcoders
from pipeline.untrusted import cut

_FILES = ("params.safetensors", "params_layer_*.safetensors")

_KEYS = {
    *("hf_hook_point_in", "hf_hook_point_out", "affine_connection"),
    *("model_name", "architecture", "width", "l0", "type"),
}
"""Keys of `config.json`: those that are read, and notes."""


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder of `params.safetensors` or `params_layer_{l}.safetensors` files."""
    return read_files(layer_files(folder, _FILES), name)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer."""
    return read_set(paths, LAYOUT, name, "mlp.hook_in", "hook_mlp_out")


def _config(path: Path) -> dict[str, Any]:
    config = path.with_name("config.json")
    return layer_config(path, config.name)[1] if config.is_file() else {}


def _activation(file: LayerFile, n_features: int) -> JumpReLU:
    """Compare the layer's configuration, where there is one, with its tensors, and read its thresholds."""
    path = file.tensors.path
    config, where = _config(path), path.with_name("config.json")
    refuse_unknown_keys(where, config, _KEYS)
    affine = config.get("affine_connection")
    if affine is not None and bool(affine) != ("affine_skip_connection" in file.tensors):
        raise TranscoderError(
            f"{where} says affine_connection: {affine}, but {path.name} has "
            f"{'no' if affine else 'an'} affine_skip_connection: one of them is of another set."
        )
    if config.get("architecture", "jump_relu") != "jump_relu":
        raise TranscoderError(
            f"{where}: architecture is {cut(config['architecture'])}; it must be jump_relu."
        )
    return clamped_threshold(file, n_features)


def _points(file: LayerFile) -> Points:
    path, config = file.tensors.path.with_name("config.json"), _config(file.tensors.path)
    found: dict[str, HookPoint | None] = {}
    for side, key in (("read", "hf_hook_point_in"), ("write", "hf_hook_point_out")):
        named = [named_point(config[key], side, path, key)] if config.get(key) is not None else []
        check_layers(named, file.layer, path)
        found[side] = agreed(named, path)
    return Points(found["read"], found["write"])


LAYOUT = LayerLayout(
    matches=lambda tensors: "w_enc" in tensors,
    activation=_activation,
    encoder="w_enc",
    decoder="w_dec",
    skip="affine_skip_connection",
    encoder_is_transposed=True,
    skip_is_transposed=False,
    writes="own or all",
    points=_points,
)

FORMAT = FileFormat(
    name="GemmaScope 2",
    files="`params.safetensors` a layer, or `params_layer_{l}.safetensors`",
    kinds="PLT, CLT, skip",
    activations="JumpReLU",
    published="`google/gemma-scope-2-*`, `mwhanna/gemma-scope-2-*`",
    matches=lambda folder: holds(folder, *_FILES),
    read=read,
    layout=LAYOUT,
    read_files=read_files,
)
