"""Reader of SAELens transcoders: `cfg.json` and `sae_weights.safetensors`, a folder a layer.

`W_enc` (d,F), `W_dec` (F,d), `b_enc`, `b_dec`, optional `threshold` (F) and `W_skip` (d,d; applied as
`x @ W_skip^T`). Architectures `transcoder` (ReLU, or a TopK of rectified values) and `jumprelu_transcoder`,
both with `skip_` before `transcoder` when they have a skip path. The configuration, newer ones under
`metadata`, names the hook points as `blocks.3.ln2.hook_normalized`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, ReLU, rectified_threshold, top_k
from pipeline.transcoders.file_format import FileFormat
from pipeline.transcoders.hook_points import HookPoint, hook_point
from pipeline.transcoders.layer_config import layer_config
from pipeline.transcoders.layer_files import holds, layer_files, layer_of
from pipeline.transcoders.stored import TensorFile, open_safetensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder

_FILE = "sae_weights.safetensors"

_ARCHITECTURES = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with a folder for each layer."""
    paths = layer_files(folder, (_FILE,), layer=_layer_by_hook)
    layers = tuple(layer(open_safetensors(path)) for path in paths)
    return Transcoders(layers, _hook(paths, "hook_name"), _hook(paths, "hook_name_out"), name)


def is_layer(file: TensorFile) -> bool:
    """Whether a file is one layer in this format: its encoder lies across its decoder."""
    encoder, decoder = (file.tensors.get(key) for key in ("W_enc", "W_dec"))
    return (
        encoder is not None and decoder is not None and encoder.shape == decoder.shape[::-1] != decoder.shape
    )


def layer(file: TensorFile) -> TranscoderLayer:
    """Read one layer and the configuration beside it."""
    path, config = layer_config(file.path)
    _check(path, config)
    encoder = file.matrix("W_enc")
    width, features = encoder.shape
    return TranscoderLayer(
        encoder=StoredEncoder.of(encoder, transposed=True),
        encoder_bias=file.read("b_enc", (features,)),
        decoder=StoredDecoder.per_layer(file.stored("W_dec", (features, width))),
        decoder_bias=file.read("b_dec", (width,)),
        activation=_activation(file, config, path, features),
        skip=file.read("W_skip", (width, width)).T if "W_skip" in file else None,
    )


def _activation(file: TensorFile, config: dict[str, Any], path: Path, features: int) -> Activation:
    if "threshold" in file or str(config["architecture"]).startswith("jumprelu"):
        return rectified_threshold(file.read("threshold", (features,)))
    named = str(config.get("activation_fn") or config.get("activation_fn_str") or "relu").lower()
    if named == "topk":
        arguments = config.get("activation_fn_kwargs") or {}
        return top_k(config.get("k", arguments.get("k")), features, path, rectified=True)
    if named == "relu":
        return ReLU()
    raise TranscoderError(f"{path}: activation_fn is {named!r}; it must be relu or topk.")


def _check(path: Path, config: dict[str, Any]) -> None:
    if config.get("architecture") not in _ARCHITECTURES:
        raise TranscoderError(
            f"{path}: architecture is {config.get('architecture')!r}; transcoders have "
            f"{', '.join(_ARCHITECTURES)}: an autoencoder cannot stand in for an MLP."
        )
    if config.get("normalize_activations") not in (None, "none"):
        raise TranscoderError(
            f"{path}: normalize_activations is {config['normalize_activations']!r}; it must be none: "
            "fold the normalisation into the weights with SAELens and save them again."
        )


def _hook(files: list[Path], key: str) -> HookPoint:
    hooks: dict[HookPoint, Path] = {}
    for weights in files:
        path, config = layer_config(weights)
        named = _named_hook(config, key)
        hooks.setdefault(hook_point(named.removeprefix(f"blocks.{layer_of(named)}."), path, key), path)
    if len(hooks) > 1:
        found = " and ".join(f"{hook!r} ({path})" for hook, path in hooks.items())
        raise TranscoderError(f"{key} differs between layers, {found}: a set reads and writes at one point.")
    return next(iter(hooks))


def _layer_by_hook(weights: Path) -> int | None:
    _, config = layer_config(weights)
    return layer_of(_named_hook(config, "hook_name"))


def _named_hook(config: dict[str, Any], key: str) -> str:
    return str((config.get("metadata") or {}).get(key) or config.get(key))


FORMAT = FileFormat(
    name="SAELens",
    files="`cfg.json` and `sae_weights.safetensors` in a folder a layer",
    kinds="PLT, skip",
    activations="ReLU, JumpReLU, TopK",
    published="",
    matches=lambda folder: holds(folder, _FILE),
    read=read,
)
