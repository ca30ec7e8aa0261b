"""Reader of OpenMOSS' Llamascopium (Llama Scope 2): `config.json` and `sae_weights.safetensors`.

PLT, a folder a layer: `W_E` (d,F), `b_E`, `W_D` (F,d), `b_D`, JumpReLU's
`activation_function.log_jumprelu_threshold` (F). CLT, one folder: `W_E` (L,d,F), `b_E` (L,F), `W_D.{t}`
(t+1,F,d) and `b_D.{t}` for each layer t written to.

With `norm_activation: dataset-wise` the input is multiplied by f_in = sqrt(d) / norm of the hook point that
is read, and the output divided by f_out; the library's own inference scale is taken, in which activations
are divided by f_in: biases and thresholds / f_in, decoders x f_in / f_out, output bias / f_out. With
`sparsity_include_decoder_norm` the activation function judges pre-activations times the norm of all that the
feature writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU, top_k
from pipeline.transcoders.formats.folder import FileFormat, layer_config, layer_files, refuse_unknown_keys
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, read_set
from pipeline.transcoders.formats.stacked import stacked_layers
from pipeline.transcoders.hook_points import (
    NO_AUTOENCODER,
    HookPoint,
    Points,
    agreed,
    check_layers,
    named_point,
)
from pipeline.transcoders.tensors import TensorFile, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, WrittenRows
from pipeline.untrusted import JSON_BYTES, cut, read_bounded

_FILE, _CONFIG = "sae_weights.safetensors", "config.json"

_THRESHOLD = "activation_function.log_jumprelu_threshold"

_KEYS = {
    *("sae_type", "act_fn", "top_k", "norm_activation", "sparsity_include_decoder_norm", "use_decoder_bias"),
    *("hook_point_in", "hook_point_out", "hook_points_in", "hook_points_out", "d_model", "expansion_factor"),
    *("dtype", "device", "use_triton_kernel", "sparsity_threshold_for_triton_spmm_kernel"),
    *("jumprelu_threshold_window", "init_cross_layer_decoder_all_zero", "decode_with_csr"),
    *("sparsity_threshold_for_csr", "sae_pretrained_name_or_path", "strict_loading"),
}
"""Keys that are read, and those of training and of kernels."""


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with a folder for each layer, or with one cross-layer set."""
    found = sorted(folder.rglob(_FILE))
    if len(found) == 1 and layer_config(found[0], _CONFIG)[1].get("sae_type") == "clt":
        return _read_cross_layer(found[0], name)
    return read_files(layer_files(folder, (_FILE,), layer=_layer_by_hook), name)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer."""
    return read_set(paths, LAYOUT, name)


def _matches(folder: Path) -> bool:
    # SAELens' weights have the same name, and a `cfg.json` beside them.
    return any(_says_its_type(path.with_name(_CONFIG)) for path in folder.rglob(_FILE))


def _says_its_type(path: Path) -> bool:
    try:
        return b'"sae_type"' in read_bounded(path, JSON_BYTES)
    except OSError:  # no such file, or none that a reader would read
        return False


def _activation(file: LayerFile, n_features: int) -> Activation:
    path, config = layer_config(file.tensors.path, _CONFIG)
    _check(path, config, "sae")
    return ReLU()  # what it is depends on norms, and is folded in with them


def _fold(file: LayerFile, layer: TranscoderLayer) -> TranscoderLayer:
    path, config = layer_config(file.tensors.path, _CONFIG)
    reads, writes = (
        _factor(file.tensors, config, path, config.get(key), layer.encoder.shape[1])
        for key in ("hook_point_in", "hook_point_out")
    )
    thresholds = file.tensors.read(_THRESHOLD, (layer.n_features,)) if _THRESHOLD in file.tensors else None
    return replace(
        layer,
        encoder_bias=layer.encoder_bias.float() / reads,
        activation=_judged(path, config, thresholds, layer.decoder, reads, layer.n_features),
        decoder=layer.decoder.scaled([reads / writes]),
        decoder_bias=layer.decoder_bias.float() / writes,
    )


def _points(file: LayerFile) -> Points:
    path, config = layer_config(file.tensors.path, _CONFIG)
    _refuse_autoencoder(path, config)
    reads = [named_point(config.get("hook_point_in"), "read", path, "hook_point_in")]
    writes = [named_point(config.get("hook_point_out"), "write", path, "hook_point_out")]
    check_layers([*reads, *writes], file.layer, path)
    return Points(agreed(reads, path), agreed(writes, path))


def _refuse_autoencoder(path: Path, config: dict[str, Any]) -> None:
    if (hook := config.get("hook_point_in")) == config.get("hook_point_out"):
        raise TranscoderError(f"{path}: it reads and writes at {cut(hook)}; {NO_AUTOENCODER}.")


def _layer_by_hook(weights: Path) -> int | None:
    path, config = layer_config(weights, _CONFIG)
    _check(path, config, "sae")
    _refuse_autoencoder(path, config)
    return named_point(config.get("hook_point_in"), "read", path, "hook_point_in").layer


LAYOUT = LayerLayout(
    matches=lambda tensors: "W_E" in tensors,
    activation=_activation,
    encoder="W_E",
    encoder_bias="b_E",
    decoder="W_D",
    decoder_bias="b_D",
    encoder_is_transposed=True,
    may_lack_decoder_bias=True,
    fold=_fold,
    points=_points,
    harmless=("dataset_average_activation_norm.*",),
)


def _read_cross_layer(weights: Path, name: str) -> Transcoders:
    (path, config), file = layer_config(weights, _CONFIG), open_tensors(weights)
    _check(path, config, "clt")
    encoder = file.matrix("W_E", 3)
    n_layers, width, features = encoder.shape
    points = {side: _stacked_points(config, side, n_layers, path) for side in ("in", "out")}
    reads, writes = (
        torch.tensor([_factor(file, config, path, hook, width) for hook in config[f"hook_points_{side}"]])
        for side in ("in", "out")
    )
    decoders = [file.stored(f"W_D.{to}", (to + 1, features, width)) for to in range(n_layers)]
    biases = [
        file.read(f"b_D.{to}", (width,)) if config.get("use_decoder_bias", True) else torch.zeros(width)
        for to in range(n_layers)
    ]
    thresholds = file.read(_THRESHOLD, (n_layers, features)) if _THRESHOLD in file else None

    def decoder(index: int) -> list[WrittenRows]:
        return [
            WrittenRows(decoders[to], index * features, scale=(reads[index] / writes[to]).expand(width))
            for to in range(index, n_layers)
        ]

    def activation(index: int, rows: StoredDecoder) -> Activation:
        # Norms are of the decoders as they are stored.
        stored = replace(rows, written=tuple(replace(part, scale=None) for part in rows.written))
        own = None if thresholds is None else thresholds[index]
        return _judged(path, config, own, stored, float(reads[index]), features)

    layers = stacked_layers(
        encoder,
        file.read("b_E", (n_layers, features)).float() / reads[:, None],
        decoder,
        torch.stack(biases).float() / writes[:, None],
        activation,
    )
    file.refuse_unused(LAYOUT.harmless)
    return Transcoders(layers, points["in"], points["out"], name)


def _stacked_points(config: dict[str, Any], side: str, n_layers: int, path: Path) -> HookPoint:
    key = f"hook_points_{side}"
    hooks = config.get(key)
    if not isinstance(hooks, list) or len(hooks) != n_layers:
        raise TranscoderError(f"{path}: {key} is {cut(hooks)}, but W_E has {n_layers} layers: each has one.")
    named = [named_point(hook, "read" if side == "in" else "write", path, key) for hook in hooks]
    for index, one in enumerate(named):
        check_layers([one], index, path)
    found = agreed(named, path)
    assert found is not None  # a W_E without layers was refused before
    return found


def _check(path: Path, config: dict[str, Any], kind: str) -> None:
    refuse_unknown_keys(path, config, _KEYS)
    if config.get("sae_type") != kind:
        raise TranscoderError(
            f"{path}: sae_type is {cut(config.get('sae_type'))}; 'sae' between an MLP's input and output, a "
            "folder a layer, and 'clt', one folder, are read."
        )


def _factor(file: TensorFile, config: dict[str, Any], path: Path, hook: Any, width: int) -> float:
    """Return what activations at a hook point are multiplied by."""
    if config.get("d_model", width) != width:
        raise TranscoderError(f"{path}: d_model is {cut(config['d_model'])}, but the weights have {width}.")
    norm = config.get("norm_activation", "dataset-wise")
    if norm == "inference":  # folded in already
        return 1.0
    if norm != "dataset-wise":
        raise TranscoderError(
            f"{path}: norm_activation is {cut(norm)}, which depends on each input and cannot be folded in; "
            "it "
            "must be dataset-wise or inference."
        )
    average = float(file.read(f"dataset_average_activation_norm.{hook}"))
    if not (isfinite(average) and average > 0):
        raise TranscoderError(f"{file.path}: the average norm at {hook} is {average}, but must be above 0.")
    return sqrt(width) / average


def _judged(
    path: Path,
    config: dict[str, Any],
    log_thresholds: Tensor | None,
    decoder: StoredDecoder,
    reads: float,
    features: int,
) -> Activation:
    """Return a layer's activation, in the scale of inference.

    Args:
        path: the configuration's.
        config: what it says.
        log_thresholds: JumpReLU's.
        decoder: as it is stored.
        reads: factor of the input.
        features: number of them.

    """
    named = str(config.get("act_fn", "relu")).lower()
    norms = decoder.norms() if config.get("sparsity_include_decoder_norm", True) and named != "relu" else None
    if named == "jumprelu" and log_thresholds is not None:
        thresholds = log_thresholds.float().exp() / reads
        return JumpReLU(thresholds if norms is None else thresholds / norms)
    if named == "relu" and log_thresholds is None:
        return ReLU()
    if named == "topk" and log_thresholds is None:
        kept = top_k(config.get("top_k"), features, path, rectified=True)
        return kept if norms is None else Gated(kept, norms)
    has = "no thresholds" if log_thresholds is None else "thresholds"
    raise TranscoderError(
        f"{path}: act_fn is {cut(named)}, and the weights have {has}; relu, topk, and jumprelu with its "
        "thresholds are read. What is active under a batch's or all layers' top k cannot be told from one "
        "layer: convert such a set to jumprelu with its own library."
    )


FORMAT = FileFormat(
    name="OpenMOSS",
    files="`config.json` with `sae_type`, `sae_weights.safetensors`: a folder a layer (PLT) or one (CLT)",
    kinds="PLT, CLT",
    activations="ReLU, JumpReLU, TopK",
    published="`OpenMOSS-Team/*` (Llama Scope 2)",
    matches=_matches,
    read=read,
    layout=LAYOUT,
    read_files=read_files,
)
