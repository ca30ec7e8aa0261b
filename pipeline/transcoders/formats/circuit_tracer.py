"""Reader of circuit-tracer's format: `config.yaml` beside one or two safetensors files a layer.

PLT: `layer_{l}.safetensors` with `W_enc` (F,d), `b_enc`, `W_dec` (F,d; in the first version (d,F)), `b_dec`,
optional `W_skip` (d,d; applied as `x @ W_skip^T`) and `activation_function.threshold` (F).
CLT: `W_enc_{l}.safetensors` with `W_enc_{l}`, `b_enc_{l}`, `b_dec_{l}`, optional `threshold_{l}` and
`W_skip_{l}` (applied as `x @ W_skip`), and `W_dec_{l}.safetensors` with `W_dec_{l}` (F, L-l, d), whose
index o writes to layer l+o.
A threshold means JumpReLU; otherwise the file's `k` or the configuration's `activation` says `relu` or `topk`
(with `k`, which keeps negative values unless `rectified` is true: a key of ours, so that sets of
other libraries can be written in this format; so are the tensors `activation_function.weight` and `.offset`,
or `weight_{l}` and `offset_{l}`).

The configuration may list its layers' files under `transcoders`, on disk or as `hf://` references (in the
first version as mappings with `layer` and `filepath`), and these may be of any format that has one file a
layer: the table of formats (`dispatch`) then reads each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.hub import HubName
from pipeline.transcoders import source
from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU, TopK, top_k
from pipeline.transcoders.formats.folder import (
    FileFormat,
    numbered_files,
    refuse_unknown_keys,
    set_config,
)
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, read_layer
from pipeline.transcoders.hook_points import hook_point
from pipeline.transcoders.selection import layer_of
from pipeline.transcoders.tensors import StoredTensor, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.untrusted import cut

_KNOWN_K = {"facebook/crv-8b-instruct-transcoders": 128}
"""Published TopK sets whose configuration does not say k, with the k that circuit-tracer takes for them."""

_KEYS = {
    *(
        "model_kind",
        "feature_input_hook",
        "feature_output_hook",
        "transcoders",
        "activation",
        "k",
        "rectified",
    ),
    *("scan", "model_name", "repo_id", "revision", "subfolder"),
    *("name", "description", "license", "dtype", "n_layers", "d_model", "d_transcoder"),
}
"""Keys of a configuration: those that are read, those of circuit-tracer's cache, and plain notes."""

_PER_LAYER, _CROSS_LAYER = "transcoder_set", "cross_layer_transcoder"


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder whose files are in this format.

    Raises:
        TranscoderError: a file is missing or corrupt, a tensor is missing or has a wrong shape, or the
            configuration names something that does not exist.

    """
    config = read_config(folder, name)
    layout, pattern = (
        (LAYOUT, "layer_{}.safetensors")
        if config["model_kind"] == _PER_LAYER
        else (_CROSS_LAYER_LAYOUT, "W_enc_{}.safetensors")
    )
    paths = numbered_files(folder, pattern)
    files = (LayerFile(open_tensors(path), index, len(paths), config) for index, path in enumerate(paths))
    return assemble(folder, name, config, (read_layer(file, layout) for file in files))


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Read a set's configuration, with its k where it is known but not written there.

    Raises:
        TranscoderError: it is missing, no keys and values, of another kind of set, or it says something that
            is not known.

    """
    config = set_config(folder)
    if _lists_mappings(config):
        # Its first version: no kind, and one mapping with `layer` and `filepath` for each layer.
        config.setdefault("model_kind", _PER_LAYER)
    if config.get("model_kind") not in (_PER_LAYER, _CROSS_LAYER):
        raise TranscoderError(
            f"{folder / 'config.yaml'}: model_kind is {cut(config.get('model_kind'))}; it must be "
            f"{cut(_PER_LAYER)} or {cut(_CROSS_LAYER)}."
        )
    refuse_unknown_keys(folder / "config.yaml", config, _KEYS)
    named = _named_activation(config)
    if named == "topk" and config.get("k") is None:
        # circuit-tracer's cache writes `org/name//@revision`.
        names = (text.partition("@")[0].rstrip("/") for text in (name, _own_name(config)))
        config["k"] = next((_KNOWN_K[known] for known in names if known in _KNOWN_K), None)
    elif named != "topk" and config.get("k") is not None:
        raise TranscoderError(
            f"{folder / 'config.yaml'}: k is {cut(config['k'])}, but activation is "
            f"{cut(config.get('activation'))}, which has no k: write `activation: topk`, or delete k."
        )
    return config


def listed_files(folder: Path, config: Mapping[str, Any], commits: Mapping[str, str]) -> list[Path]:
    """Return the local paths of the files that a configuration lists, one a layer; none where it lists none.

    Raises:
        TranscoderError: the list is no list, or a file cannot be fetched.

    """
    entries = config.get("transcoders") or []
    if _lists_mappings(config):
        entries = _in_order(entries, folder / "config.yaml")
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise TranscoderError(
            f"{folder / 'config.yaml'}: transcoders is {cut(entries)}, but must list the name of one file a "
            "layer."
        )
    _check_list(entries, folder / "config.yaml")
    return source.files(entries, folder, commits)


def _lists_mappings(config: Mapping[str, Any]) -> bool:
    entries = config.get("transcoders")
    return isinstance(entries, list) and bool(entries) and all(isinstance(entry, dict) for entry in entries)


def _in_order(entries: list[dict[str, Any]], path: Path) -> list[str]:
    """Return the files of a list of mappings in the order of their layers."""
    files: dict[int, str] = {}
    for entry in entries:
        layer, file = entry.get("layer"), entry.get("filepath")
        if type(layer) is not int or not isinstance(file, str) or entry.keys() - {"layer", "filepath", "id"}:
            raise TranscoderError(
                f"{path} lists {cut(entry)}, but an entry has a layer's number, a filepath and perhaps an id."
            )
        if layer in files:
            raise TranscoderError(
                f"{path} lists {files[layer]} and {file} for layer {layer}: it has one file."
            )
        files[layer] = file
    if missing := sorted(set(range(max(files) + 1)) - files.keys()):
        raise TranscoderError(
            f"{path} lists no file for layer {missing[0]}, but every layer from 0 on has one."
        )
    return [files[layer] for layer in sorted(files)]


def _lies_across(file: LayerFile, decoder: StoredTensor, shape: tuple[int, int]) -> bool:
    """Tell that a decoder is (d, F), as the first version wrote it; if square, only its list can say so."""
    return decoder.shape == shape[::-1] and (shape[0] != shape[1] or _lists_mappings(file.config))


def _check_list(names: list[str], path: Path) -> None:
    """Refuse a list whose order is not that of the layers: a file's place in it is its layer."""
    for index, name in enumerate(names):
        if (first := names.index(name)) < index:
            raise TranscoderError(
                f"{path} lists {name} twice, for layers {first} and {index}, but every layer has a file of "
                "its own."
            )
        said = layer_of(HubName.parse(name, "transcoders").path if name.startswith("hf://") else name)
        if said not in (None, index):
            raise TranscoderError(
                f"{path} lists {name} at place {index} (from 0), so for layer {index}, but its name says "
                f"layer {said}: list the files in the order of the layers, from the first."
            )


def assemble(
    folder: Path, name: str, config: Mapping[str, Any], layers: Iterable[TranscoderLayer]
) -> Transcoders:
    """Join a set's layers with what its configuration says of all of them.

    Raises:
        TranscoderError: the hook points are unknown, or the layers do not fit each other.

    """
    read_at, write_at = (
        hook_point(config.get(key), side, folder / "config.yaml", key)
        for side, key in (("read", "feature_input_hook"), ("write", "feature_output_hook"))
    )
    return Transcoders(tuple(layers), read_at, write_at, _own_name(config) or name)


def _own_name(config: Mapping[str, Any]) -> str:
    scan = config.get("scan") or ""
    names = scan if isinstance(scan, list) else [scan]
    if not all(isinstance(name, str) for name in names):
        raise TranscoderError(f"config.yaml: scan is {cut(scan)}, but must be a name or a list of names.")
    return ",".join(names)


def _named_activation(config: Mapping[str, Any]) -> str | None:
    named = config.get("activation")
    return None if named is None else str(named).lower().replace("_", "")


def _activation(
    file: LayerFile, n_features: int, threshold: str, k: str, weight: str, offset: str
) -> Activation:
    """Read a layer's activation, with the weight and offset that only we write."""
    gate = _gate(file, n_features, threshold, k)
    parts = (
        file.tensors.read(name, (n_features,)) if (name := key.format(file.layer)) in file.tensors else None
        for key in (weight, offset)
    )
    weights, offsets = parts
    return gate if weights is None and offsets is None else Gated(gate, weights, offsets)


def _gate(file: LayerFile, n_features: int, threshold: str, k: str) -> ReLU | JumpReLU | TopK:
    tensors, path, named = file.tensors, file.tensors.path, _named_activation(file.config)
    threshold, k = threshold.format(file.layer), k.format(file.layer)
    if threshold in tensors:
        if named not in (None, "jumprelu"):
            raise TranscoderError(
                f"{path} has thresholds ({threshold}), but the configuration's activation is {cut(named)}: "
                "one of them is wrong."
            )
        values = tensors.stored(threshold)
        if values.whole().numel() not in (1, n_features):
            raise TranscoderError(
                f"{path}: {threshold} has shape {values.shape}, but must have one threshold, or "
                f"{n_features:,}, one a feature: do the tensors of this file belong together?"
            )
        return JumpReLU(tensors.read(threshold).reshape(-1).expand(n_features))
    rectified = bool(file.config.get("rectified"))
    if k in tensors:
        number, configured = tensors.whole_number(k), file.config.get("k")
        if named not in (None, "topk") or configured not in (None, number):
            raise TranscoderError(
                f"{path} says k = {number} (so topk), but the configuration says activation: {named}, "
                f"k: {configured}: one of them is wrong."
            )
        return top_k(number, n_features, path, rectified)
    if named in (None, "relu"):
        return ReLU()
    if named == "topk":
        return top_k(file.config.get("k"), n_features, path, rectified)
    if named == "jumprelu":
        raise TranscoderError(
            f"{path} has no {threshold}, but its configuration's activation is {cut(named)}."
        )
    raise TranscoderError(f"{path}: activation is {cut(named)}; it must be relu, topk or jump_relu.")


LAYOUT = LayerLayout(
    matches=lambda tensors: True,
    decoder_lies_across=_lies_across,
    activation=partial(
        _activation,
        threshold="activation_function.threshold",
        k="k",
        weight="activation_function.weight",
        offset="activation_function.offset",
    ),
)

_CROSS_LAYER_LAYOUT = LayerLayout(
    matches=lambda tensors: False,  # two files a layer: never one of a list
    activation=partial(
        _activation, threshold="threshold_{}", k="k_{}", weight="weight_{}", offset="offset_{}"
    ),
    encoder="W_enc_{}",
    encoder_bias="b_enc_{}",
    decoder="W_dec_{}",
    decoder_bias="b_dec_{}",
    skip="W_skip_{}",
    skip_is_transposed=False,
    writes="own and above",
    decoder_file="W_dec_{}.safetensors",
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
    layout=LAYOUT,
)
