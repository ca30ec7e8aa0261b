"""Reader of GemmaScope 2: one safetensors file a layer (Gemma 3).

`w_enc` (d,F), `w_dec` (F,d), `b_enc`, `b_dec`, `threshold` (F), JumpReLU, and in the affine sets
`affine_skip_connection` (d,d), applied as `x @ A`. In the CLTs `w_dec` is (F,L,d) over all layers of the
model, those below the feature's own included, which it cannot write to and which are left out.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import TranscoderError
from pipeline.transcoders.formats.folder import FileFormat, holds, layer_files
from pipeline.transcoders.formats.layout import LayerLayout, clamped_threshold, read_layers
from pipeline.transcoders.hook_points import HookPoint
from pipeline.transcoders.transcoders import Transcoders
from pipeline.untrusted import JSON_BYTES, cut, parse_json, read_bounded

_FILES = ("params.safetensors", "params_layer_*.safetensors")

_HOOKS: dict[str, HookPoint] = {
    "pre_feedforward_layernorm.output": "mlp.hook_in",
    "post_feedforward_layernorm.output": "hook_mlp_out",
}
"""Points in the names of these sets' `config.json`, without the layer."""

LAYOUT = LayerLayout(
    matches=lambda tensors: "w_enc" in tensors,
    activation=clamped_threshold,
    encoder="w_enc",
    decoder="w_dec",
    skip="affine_skip_connection",
    encoder_is_transposed=True,
    skip_is_transposed=False,
    writes="own or all",
)


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder of `params.safetensors` or `params_layer_{l}.safetensors` files."""
    paths = layer_files(folder, _FILES)
    layers = read_layers(paths, LAYOUT)
    reads, writes = (_hook(paths[0], key) for key in ("hf_hook_point_in", "hf_hook_point_out"))
    return Transcoders(layers, reads or "mlp.hook_in", writes or "hook_mlp_out", name)


def _hook(path: Path, key: str) -> HookPoint | None:
    config = path.with_name("config.json")
    if not config.is_file():
        return None
    try:
        named = parse_json(read_bounded(config, JSON_BYTES)).get(key)
    except (ValueError, AttributeError, OSError) as error:
        raise TranscoderError(f"{config} is not readable as JSON keys and values: fetch it again.") from error
    if named is None:
        return None
    for point, hook in _HOOKS.items():
        if str(named).endswith(point):
            return hook
    raise TranscoderError(
        f"{config}: {key} is {cut(named)}; transcoders read at {' and write at '.join(_HOOKS)}: "
        "is this a set of autoencoders?"
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
)
