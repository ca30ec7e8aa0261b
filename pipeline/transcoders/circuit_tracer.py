"""Reader of circuit-tracer's format: `config.yaml` beside one or two safetensors files a layer.

PLT: `layer_{l}.safetensors` with `W_enc` (F,d), `b_enc`, `W_dec` (F,d), `b_dec`, optional `W_skip`
(d,d; applied as `x @ W_skip^T`) and `activation_function.threshold` (F).
CLT: `W_enc_{l}.safetensors` with `W_enc_{l}`, `b_enc_{l}`, `b_dec_{l}`, optional `threshold_{l}` and
`W_skip_{l}` (applied as `x @ W_skip`), and `W_dec_{l}.safetensors` with `W_dec_{l}` (F, L-l, d), whose
index o writes to layer l+o.
A threshold means JumpReLU; otherwise the file's `k` or the configuration's `activation` says `relu` or `topk`
(with `k`, which keeps negative values unless `rectified` is true: a key of ours, so that sets of
other libraries can be written in this format).

The configuration may list its layers' files under `transcoders`, on disk or as `hf://` references, and these
may be of any format that has one file a layer: the tensors' names say which.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.transcoders import gemma_scope, gemma_scope_2, sae_lens, source, sparsify
from pipeline.transcoders.activation import Activation, JumpReLU, ReLU, top_k
from pipeline.transcoders.file_format import FileFormat, open_tensors
from pipeline.transcoders.hook_points import hook_point
from pipeline.transcoders.set_config import read_config
from pipeline.transcoders.stored import TensorFile, open_safetensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder

_KNOWN_K = {"facebook/crv-8b-instruct-transcoders": 128}
"""Published TopK sets whose configuration does not say k; this is what circuit-tracer takes for them."""


def read(directory: Path, name: str) -> Transcoders:
    """Read a folder in circuit-tracer's format.

    Raises:
        TranscoderError: a file is missing or corrupt, a tensor is missing or has a wrong shape, or the
            configuration names something that does not exist.

    """
    path, config = directory / "config.yaml", read_config(directory)
    config.setdefault("k", _known_k(name, config))
    kind = config.get("model_kind")
    if kind == "transcoder_set":
        layers = _read_per_layer(directory, config)
    elif kind == "cross_layer_transcoder":
        layers = _read_cross_layer(directory, config)
    else:
        raise TranscoderError(
            f"{path}: model_kind is {kind!r}; it must be 'transcoder_set' or 'cross_layer_transcoder'."
        )
    return Transcoders(
        layers=tuple(layers),
        input_hook=hook_point(config.get("feature_input_hook"), path, "feature_input_hook"),
        output_hook=hook_point(config.get("feature_output_hook"), path, "feature_output_hook"),
        name=_scan(config) or name,
    )


def _known_k(name: str, config: dict[str, Any]) -> int | None:
    names = (name.partition("@")[0], _scan(config).partition("@")[0])
    return next((_KNOWN_K[known] for known in names if known in _KNOWN_K), None)


def _scan(config: dict[str, Any]) -> str:
    scan = config.get("scan") or ""
    return ",".join(scan) if isinstance(scan, list) else str(scan)


def _read_per_layer(directory: Path, config: dict[str, Any]) -> Iterator[TranscoderLayer]:
    paths = _listed(directory, config) or _numbered(directory, "layer_{}.safetensors")
    for index, path in enumerate(paths):
        yield _layer(open_tensors(path), config, index, len(paths))


def _listed(directory: Path, config: dict[str, Any]) -> list[Path]:
    entries = config.get("transcoders") or []
    if not isinstance(entries, list):
        raise TranscoderError(
            f"{directory / 'config.yaml'}: transcoders is {entries!r}, but must list one file a layer."
        )
    return source.files([str(entry) for entry in entries], directory)


def _numbered(directory: Path, name: str) -> list[Path]:
    count = len(list(directory.glob(name.format("*"))))
    if count == 0:
        raise TranscoderError(f"{directory} holds no {name.format('*')}: is the download complete?")
    return [directory / name.format(index) for index in range(count)]


def _layer(file: TensorFile, config: dict[str, Any], index: int, n_layers: int) -> TranscoderLayer:
    """Read one layer's file in the format that its tensors show."""
    if file.path.suffix == ".npz":
        return gemma_scope.layer(file)
    if gemma_scope_2.is_layer(file):
        return gemma_scope_2.layer(file, index, n_layers)
    if sparsify.is_layer(file):
        return sparsify.layer(file)
    return sae_lens.layer(file) if sae_lens.is_layer(file) else _per_layer(file, config)


def _per_layer(file: TensorFile, config: dict[str, Any]) -> TranscoderLayer:
    encoder = file.matrix("W_enc")
    features, width = encoder.shape
    return TranscoderLayer(
        encoder=StoredEncoder.of(encoder),
        encoder_bias=file.read("b_enc", (features,)),
        decoder=StoredDecoder.per_layer(file.stored("W_dec", (features, width))),
        decoder_bias=file.read("b_dec", (width,)),
        activation=_activation(file, "activation_function.threshold", "k", config, features),
        skip=file.read("W_skip", (width, width)).T if "W_skip" in file else None,
    )


def _read_cross_layer(directory: Path, config: dict[str, Any]) -> Iterator[TranscoderLayer]:
    if config.get("transcoders"):
        yield from _read_per_layer(directory, config)
        return
    paths = _numbered(directory, "W_enc_{}.safetensors")
    for index, path in enumerate(paths):
        yield _cross_layer(open_safetensors(path), config, index, len(paths))


def _cross_layer(file: TensorFile, config: dict[str, Any], index: int, n_layers: int) -> TranscoderLayer:
    decoders = open_safetensors(file.path.with_name(f"W_dec_{index}.safetensors"))
    encoder = file.matrix(f"W_enc_{index}")
    features, width = encoder.shape
    skip = f"W_skip_{index}"
    return TranscoderLayer(
        encoder=StoredEncoder.of(encoder),
        encoder_bias=file.read(f"b_enc_{index}", (features,)),
        decoder=StoredDecoder.cross_layer(
            decoders.stored(f"W_dec_{index}", (features, n_layers - index, width))
        ),
        decoder_bias=file.read(f"b_dec_{index}", (width,)),
        activation=_activation(file, f"threshold_{index}", f"k_{index}", config, features),
        skip=file.read(skip, (width, width)) if skip in file else None,
    )


def _activation(
    file: TensorFile, threshold: str, k: str, config: dict[str, Any], n_features: int
) -> Activation:
    if threshold in file:
        return JumpReLU(file.read(threshold).reshape(-1).expand(n_features))
    if k in file:
        return top_k(int(file.read(k)), n_features, file.path, bool(config.get("rectified")))
    named = str(config.get("activation") or "relu").lower()
    if named == "relu":
        return ReLU()
    if named == "topk":
        return top_k(config.get("k"), n_features, file.path, bool(config.get("rectified")))
    raise TranscoderError(
        f"{file.path}: activation {named!r} has no thresholds; it must be relu, topk or jump_relu."
    )


FORMAT = FileFormat(
    name="circuit-tracer",
    files="`config.yaml` and `layer_{l}.safetensors` (PLT), or `W_enc_{l}.safetensors` and "
    "`W_dec_{l}.safetensors` (CLT), or a list of files in any format here that has one a layer",
    kinds="PLT, CLT, skip",
    activations="ReLU, JumpReLU, TopK",
    published="`mntss/*`, `mwhanna/qwen3-*`, `facebook/crv-8b-instruct-transcoders`",
    matches=lambda folder: (
        (folder / "config.yaml").is_file() and not (folder / "checkpoint.safetensors").is_file()
    ),
    read=read,
)
