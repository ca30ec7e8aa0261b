"""Reader of EleutherAI's clt-training: sparsify's files, `{hookpoint}/sae.safetensors`, with more in them.

`post_enc` (F) is added to each active feature before it is decoded, and is part of its activation here;
`post_enc_scale` (F) multiplies the sum. With `normalize_io` the input is multiplied by sqrt(d) / `in_norm`,
the output by `out_norm` / sqrt(d). Cross-layer sets (`n_targets` above 0) have `post_encs.{i}` and
`post_enc_scales.{i}` for the i-th layer written to, from the feature's own, and one decoder at each layer
written to: with `coalesce_topk: concat` (F,d), shared by all layers below, with `per-layer` (n_sources x
F,d), one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, Gated, TopK, top_k
from pipeline.transcoders.formats.folder import (
    FileFormat,
    layer_config,
    layer_files,
    refuse_unknown_keys,
    whole_number,
)
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, read_set
from pipeline.transcoders.formats.stacked import common_offset
from pipeline.transcoders.hook_points import NO_AUTOENCODER
from pipeline.transcoders.tensors import StoredTensor, TensorFile, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder, WrittenRows
from pipeline.untrusted import cut

_FILE, _CONFIG = "sae.safetensors", "cfg.json"

_OWN_KEYS = {
    *("n_targets", "n_sources", "normalize_io", "divide_cross_layer", "train_post_encoder"),
    *("post_encoder_scale", "per_source_tied", "coalesce_topk", "topk_coalesced", "tp_output"),
}
"""Keys that sparsify's configuration does not have."""

_KEYS = {
    *("activation", "k", "transcode", "skip_connection", "n_targets", "n_sources", "normalize_io"),
    *("coalesce_topk", "post_encoder_scale", "train_post_encoder", "num_latents", "d_in"),
    "divide_cross_layer",  # of decoders that are not joined
    *("expansion_factor", "normalize_decoder", "tp_output", "dtype", "use_fp8"),
}
"""Keys that are read, and those of training; tied decoders and a top k over several layers are not read."""


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with a folder for each hook point."""
    return read_files(layer_files(folder, (_FILE,)), name)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer, of a per-layer or a cross-layer set."""
    if any(layer_config(path)[1].get("n_targets") for path in paths):
        return Transcoders(_cross_layer(paths), "mlp.hook_in", "mlp.hook_out", name)
    return read_set(paths, LAYOUT, name, "mlp.hook_in", "mlp.hook_out")


def _matches(folder: Path) -> bool:
    first = next(iter(sorted(folder.rglob(_FILE))), None)
    return first is not None and first.with_name(_CONFIG).is_file() and _is_own(first)


def _is_own(weights: Path) -> bool:
    return bool(_OWN_KEYS & layer_config(weights)[1].keys())


def _activation(file: LayerFile, n_features: int) -> TopK:
    path, config = layer_config(file.tensors.path)
    _check(path, config)
    if (how := config.get("coalesce_topk", "none")) != "none":
        raise TranscoderError(
            f"{path}: coalesce_topk is {cut(how)}, but n_targets is 0, so there is nothing to join."
        )
    return top_k(config.get("k"), n_features, path, rectified=True)


def _check(path: Path, config: dict[str, Any]) -> None:
    if not config.get("transcode"):
        raise TranscoderError(f"{path}: transcode is {cut(config.get('transcode'))}; {NO_AUTOENCODER}.")
    refuse_unknown_keys(path, config, _KEYS)
    if config.get("activation", "topk") != "topk":
        raise TranscoderError(f"{path}: activation is {cut(config['activation'])}; only topk is read.")


def _fold(file: LayerFile, layer: TranscoderLayer) -> TranscoderLayer:
    path, config = layer_config(file.tensors.path)
    tensors = file.tensors
    reads, writes = _norms(tensors, config, layer.encoder.shape[1])
    scale = _scale(tensors, config, "post_enc_scale", layer.n_features)
    offset = _offset(tensors, "post_enc", layer.n_features)
    decoder = layer.decoder.scaled([writes], None if scale is None else scale[None])
    folded = replace(layer, activation=_active(layer.activation, [offset], path), decoder=decoder)
    return _normed(folded, reads, writes)


LAYOUT = LayerLayout(
    matches=lambda tensors: (
        "encoder.weight" in tensors
        and any(name.startswith(("post_enc", "in_norm", "out_norm")) for name in tensors.tensors)
    ),
    activation=_activation,
    encoder="encoder.weight",
    encoder_bias="encoder.bias",
    fold=_fold,
)


def _normed(layer: TranscoderLayer, reads: float, writes: float) -> TranscoderLayer:
    """Fold the norms of its own input and output into a layer, but for its decoder."""
    encoder = layer.encoder
    if reads != 1:
        encoder = replace(encoder, scale=torch.full(encoder.shape[1:], reads))
    return replace(
        layer,
        encoder=encoder,
        decoder_bias=layer.decoder_bias if writes == 1 else layer.decoder_bias.float() * writes,
        skip=None if layer.skip is None else layer.skip * (reads * writes),
    )


def _cross_layer(paths: Sequence[Path]) -> tuple[TranscoderLayer, ...]:
    configs = [layer_config(path) for path in paths]
    files = [open_tensors(path) for path in paths]
    norms = []
    for (path, config), file in zip(configs, files, strict=True):
        _check(path, config)
        _, width = file.matrix("encoder.weight").shape
        norms.append(_norms(file, config, width))
    layers = tuple(_source(index, configs, files, norms) for index in range(len(files)))
    for file in files:
        file.refuse_unused()
    return layers


def _source(
    index: int,
    configs: list[tuple[Path, dict[str, Any]]],
    files: list[TensorFile],
    norms: list[tuple[float, float]],
) -> TranscoderLayer:
    """Return the features of one layer, with what the layers that they write to say of them."""
    (path, config), file, (reads, writes) = configs[index], files[index], norms[index]
    encoder = file.matrix("encoder.weight")
    features, width = encoder.shape
    targets = range(index, index + (whole_number(config, "n_targets", path, 0) or 1))
    if targets.stop > len(files):
        raise TranscoderError(
            f"{path}: n_targets is {cut(config['n_targets'])}, but {len(files) - index} layers are left: is "
            "one missing?"
        )
    scales = [_scale(file, config, f"post_enc_scales.{i}", features) for i in range(len(targets))]
    offsets = [_offset(file, f"post_encs.{i}", features) for i in range(len(targets))]
    written = tuple(
        WrittenRows(
            _shared_decoder(configs[target], files[target], target, features, width),
            first=index * features if configs[target][1].get("coalesce_topk") == "per-layer" else 0,
            scale=None if norms[target][1] == 1 else torch.full((width,), norms[target][1]),
            feature_scale=scale,
        )
        for target, scale in zip(targets, scales, strict=True)
    )
    layer = TranscoderLayer(
        encoder=StoredEncoder.of(encoder),
        encoder_bias=file.read("encoder.bias", (features,)),
        decoder=StoredDecoder((features, len(written), width), written),
        decoder_bias=file.read("b_dec", (width,)),
        activation=_active(top_k(config.get("k"), features, path, rectified=True), offsets, path),
        skip=file.read("W_skip", (width, width)).T if "W_skip" in file else None,
    )
    return _normed(layer, reads, writes)


def _shared_decoder(
    described: tuple[Path, dict[str, Any]], file: TensorFile, target: int, features: int, width: int
) -> StoredTensor:
    path, config = described
    how = config.get("coalesce_topk", "none")
    if how not in ("concat", "per-layer") and target > 0:
        raise TranscoderError(
            f"{path}: coalesce_topk is {cut(how)}; of cross-layer sets concat and per-layer are read."
        )
    sources = config.get("n_sources") or 1
    if sources != target + 1:
        raise TranscoderError(
            f"{path}: n_sources is {cut(sources)}, but {target + 1} layers write to layer {target}: is a "
            "layer missing?"
        )
    return file.stored("W_dec", (features * (sources if how == "per-layer" else 1), width))


def _norms(file: TensorFile, config: dict[str, Any], width: int) -> tuple[float, float]:
    """Return what a layer's input and output are multiplied by."""
    if not config.get("normalize_io"):
        return 1.0, 1.0
    reads, writes = (float(file.read(f"{side}_norm", (1,))) for side in ("in", "out"))
    return sqrt(width) / reads, writes / sqrt(width)


def _scale(file: TensorFile, config: dict[str, Any], name: str, features: int) -> Tensor | None:
    return file.read(name, (features,)).float() if config.get("post_encoder_scale") else None


def _offset(file: TensorFile, name: str, features: int) -> Tensor | None:
    return file.read(name, (features,)).float() if name in file else None


def _active(gate: Activation, offsets: list[Tensor | None], path: Path) -> Activation:
    offset = common_offset(offsets, path, "post_enc")
    return gate if offset is None else Gated(gate, offset=offset)


FORMAT = FileFormat(
    name="clt-training",
    files="`{hookpoint}/cfg.json` with `n_targets`, and `{hookpoint}/sae.safetensors`",
    kinds="PLT, CLT, skip",
    activations="TopK",
    published="",
    matches=_matches,
    read=read,
    layout=LAYOUT,
    read_files=read_files,
)
