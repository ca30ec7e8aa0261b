"""Reader of circuit-tracer's format: `config.yaml` beside one or two safetensors files a layer.

PLT: `layer_{l}.safetensors` with `W_enc` (F,d), `b_enc`, `W_dec` (F,d), `b_dec`, optional `W_skip`
(d,d; applied as `x @ W_skip^T`) and `activation_function.threshold` (F).
CLT: `W_enc_{l}.safetensors` with `W_enc_{l}`, `b_enc_{l}`, `b_dec_{l}`, optional `threshold_{l}`, and
`W_dec_{l}.safetensors` with `W_dec_{l}` (F, L-l, d), whose index o writes to layer l+o.
A threshold means JumpReLU; otherwise the configuration's `activation` says `relu` or `topk` (with `k`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders import source
from pipeline.transcoders.activation import Activation, JumpReLU, ReLU, TopK
from pipeline.transcoders.transcoders import HookPoint, TranscoderLayer, Transcoders

Tensors = dict[str, Tensor]


def read(directory: Path, name: str) -> Transcoders:
    """Read a folder in circuit-tracer's format.

    Raises:
        TranscoderError: a file is missing or corrupt, a tensor is missing or has a wrong shape, or the
            configuration names something that does not exist.

    """
    config = read_config(directory)
    kind = config.get("model_kind")
    if kind == "transcoder_set":
        layers = _read_per_layer(directory, config)
    elif kind == "cross_layer_transcoder":
        layers = _read_cross_layer(directory, config)
    else:
        raise TranscoderError(
            f"{directory / 'config.yaml'}: model_kind is {kind!r}; "
            "it must be 'transcoder_set' or 'cross_layer_transcoder'."
        )
    return Transcoders(
        layers=tuple(layers),
        input_hook=_hook(config, "feature_input_hook", directory),
        output_hook=_hook(config, "feature_output_hook", directory),
        name=_scan(config) or name,
    )


def read_config(directory: Path) -> dict[str, Any]:
    """Return the parsed `config.yaml` of a folder."""
    path = directory / "config.yaml"
    if not path.is_file():
        raise TranscoderError(
            f"{path} is missing: a transcoder folder holds config.yaml beside its safetensors files."
        )
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise TranscoderError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(config, dict):
        raise TranscoderError(f"{path} holds {type(config).__name__}, but must hold keys and values.")
    return config


def _scan(config: dict[str, Any]) -> str:
    scan = config.get("scan") or ""
    return ",".join(scan) if isinstance(scan, list) else str(scan)


def _hook(config: dict[str, Any], key: str, directory: Path) -> HookPoint:
    value = config.get(key)
    if value not in get_args(HookPoint):
        raise TranscoderError(
            f"{directory / 'config.yaml'}: {key} is {value!r}; known hook points are "
            f"{', '.join(get_args(HookPoint))}."
        )
    return value


def _read_per_layer(directory: Path, config: dict[str, Any]) -> list[TranscoderLayer]:
    entries = config.get("transcoders")
    if entries:
        paths = [source.file(str(entry), directory) for entry in entries]
    else:
        paths = [directory / f"layer_{i}.safetensors" for i in range(_count(directory, "layer_*"))]
    if not paths:
        raise TranscoderError(f"{directory} holds no layer_*.safetensors: is the download complete?")
    return [_per_layer(path, config) for path in paths]


def _per_layer(path: Path, config: dict[str, Any]) -> TranscoderLayer:
    tensors = read_tensors(path)
    width = require(tensors, "W_enc", path).shape
    skip = tensors.get("W_skip")
    return TranscoderLayer(
        encoder=tensors["W_enc"],
        encoder_bias=require(tensors, "b_enc", path, width[:1]),
        decoder=require(tensors, "W_dec", path, width)[:, None],
        decoder_bias=require(tensors, "b_dec", path, width[1:]),
        activation=_activation(tensors.get("activation_function.threshold"), config, path, width[0]),
        skip=None if skip is None else skip.T,
    )


def _read_cross_layer(directory: Path, config: dict[str, Any]) -> list[TranscoderLayer]:
    n_layers = _count(directory, "W_enc_*")
    if n_layers == 0:
        raise TranscoderError(f"{directory} holds no W_enc_*.safetensors: is the download complete?")
    return [_cross_layer(directory, config, layer, n_layers) for layer in range(n_layers)]


def _cross_layer(directory: Path, config: dict[str, Any], layer: int, n_layers: int) -> TranscoderLayer:
    path = directory / f"W_enc_{layer}.safetensors"
    decoder_path = directory / f"W_dec_{layer}.safetensors"
    tensors = read_tensors(path)
    encoder = require(tensors, f"W_enc_{layer}", path)
    features, width = encoder.shape
    return TranscoderLayer(
        encoder=encoder,
        encoder_bias=require(tensors, f"b_enc_{layer}", path, (features,)),
        decoder=require(
            read_tensors(decoder_path), f"W_dec_{layer}", decoder_path, (features, n_layers - layer, width)
        ),
        decoder_bias=require(tensors, f"b_dec_{layer}", path, (width,)),
        activation=_activation(tensors.get(f"threshold_{layer}"), config, path, features),
        skip=tensors.get(f"W_skip_{layer}"),
    )


def _activation(threshold: Tensor | None, config: dict[str, Any], path: Path, n_features: int) -> Activation:
    if threshold is not None:
        return JumpReLU(threshold.reshape(-1).expand(n_features))
    kind = str(config.get("activation", "relu")).lower()
    if kind == "relu":
        return ReLU()
    k = config.get("k")
    if kind == "topk" and isinstance(k, int) and 0 < k <= n_features:
        return TopK(k)
    if kind == "topk":
        raise TranscoderError(f"{path}: activation is topk, but k is {k!r}; it must be 1 to {n_features}.")
    raise TranscoderError(
        f"{path}: activation {kind!r} has no thresholds; it must be relu, topk or jump_relu."
    )


def _count(directory: Path, pattern: str) -> int:
    return len(list(directory.glob(f"{pattern}.safetensors")))


def read_tensors(path: Path) -> Tensors:
    """Return every tensor of a safetensors file, memory-mapped."""
    if not path.is_file():
        raise TranscoderError(f"transcoder file {path} does not exist: is the download complete?")
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TranscoderError(f"transcoder file {path} is corrupt ({error}): fetch it again.") from error


def require(tensors: Tensors, key: str, path: Path, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a tensor by name, checking its shape."""
    if key not in tensors:
        raise TranscoderError(f"{path} has no tensor {key!r}; it holds {', '.join(sorted(tensors))}.")
    tensor = tensors[key]
    if shape is not None and tuple(tensor.shape) != tuple(shape):
        raise TranscoderError(f"{path}: {key} has shape {tuple(tensor.shape)}, but must have {tuple(shape)}.")
    return tensor
