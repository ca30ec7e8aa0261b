"""Reader of EleutherAI's sparsify: `{hookpoint}/cfg.json` and `sae.safetensors`, a folder a layer.

`encoder.weight` (F,d), `encoder.bias`, `W_dec` (F,d), `b_dec`, optional `W_skip` (d,d; applied as
`x @ W_skip^T`). Pre-activations pass a ReLU before the TopK. A transcoder's hook point is an MLP
(`layers.3.mlp`): it reads what the MLP reads and writes what it writes, and unlike the
autoencoders of this library it does not subtract `b_dec` from its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import TopK, top_k
from pipeline.transcoders.formats.folder import (
    FileFormat,
    holds,
    layer_config,
    layer_files,
    refuse_unknown_keys,
)
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, read_set
from pipeline.transcoders.hook_points import NO_AUTOENCODER
from pipeline.transcoders.transcoders import Transcoders
from pipeline.untrusted import cut

_FILE = "sae.safetensors"

_KEYS = {
    *("activation", "k", "transcode", "skip_connection", "num_latents", "d_in"),
    *("expansion_factor", "normalize_decoder", "multi_topk"),
}
"""Keys that are read here, and those that only steer the training."""


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with a folder for each hook point."""
    return read_files(layer_files(folder, (_FILE,)), name)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer."""
    for path in paths:
        _check(*layer_config(path))
        # Several seeds lie in folders of their own inside the hook point's.
        if not any(parent.name.endswith("mlp") for parent in list(path.parents)[:2]):
            raise TranscoderError(
                f"{path}: hook point {cut(path.parent.name)} is not an MLP, but a transcoder replaces one: "
                "its "
                "folder is called layers.0.mlp, say."
            )
    return read_set(paths, LAYOUT, name, "mlp.hook_in", "mlp.hook_out")


def _activation(file: LayerFile, n_features: int) -> TopK:
    path, config = layer_config(file.tensors.path)
    _check(path, config)
    return top_k(config.get("k"), n_features, path, rectified=True)


LAYOUT = LayerLayout(
    matches=lambda tensors: "encoder.weight" in tensors,
    activation=_activation,
    encoder="encoder.weight",
    encoder_bias="encoder.bias",
)


def _check(path: Path, config: dict[str, Any]) -> None:
    if not (config.get("transcode") or config.get("skip_connection")):
        raise TranscoderError(
            f"{path}: transcode is {cut(config.get('transcode'))}, so this is an autoencoder; "
            f"{NO_AUTOENCODER}."
        )
    refuse_unknown_keys(path, config, _KEYS)
    if config.get("activation", "topk") != "topk":
        raise TranscoderError(f"{path}: activation is {cut(config['activation'])}; only topk is read.")


FORMAT = FileFormat(
    name="sparsify",
    files="`{hookpoint}/cfg.json` and `{hookpoint}/sae.safetensors`",
    kinds="PLT, skip",
    activations="TopK",
    published="`EleutherAI/skip-transcoder-*`",
    matches=lambda folder: holds(folder, _FILE),
    read=read,
    layout=LAYOUT,
    read_files=read_files,
)
