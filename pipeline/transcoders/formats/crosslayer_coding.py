"""Reader of the crosslayer-coding library: `cfg.json` and `clt_checkpoint_latest.safetensors`.

`encoder_module.encoders.{l}.weight` (F,d) and `.bias_param`; `decoder_module.decoders.{s}->{t}.weight` (d,F)
and `.bias_param`, of which all that go to a layer are added up; tied, one decoder a layer that writes
(per_source) or that is written to (per_target), with `feature_scale.{t}` and `feature_offset.{t}` (F; part
of the activation here) for each layer written to, and `skip_weights.{t}` (d,d). JumpReLU has
`theta_manager.log_threshold` (L,F). Decoders lie across, so that a row is read with its whole matrix:
`convert` makes them quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU
from pipeline.transcoders.formats.folder import FileFormat, layer_config, refuse_unknown_keys, whole_number
from pipeline.transcoders.formats.stacked import common_offset
from pipeline.transcoders.hook_points import HookPoint, agreed, named_point
from pipeline.transcoders.tensors import TensorFile, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder, WrittenRows
from pipeline.untrusted import cut

_FILES = ("clt_checkpoint_latest.safetensors", "model.safetensors", "latest/model.safetensors")

_CONFIG = "cfg.json"

_KEYS = {
    *("num_features", "num_layers", "d_model", "activation_fn", "decoder_tying", "skip_connection"),
    *("enable_feature_offset", "enable_feature_scale", "normalization_method", "model_name", "clt_dtype"),
    *("tl_input_template", "tl_output_template", "mlp_input_template", "mlp_output_template"),
    *("jumprelu_threshold", "batchtopk_k", "batchtopk_straight_through", "topk_k", "topk_straight_through"),
    *("topk_mode", "expected_input_dtype", "context_size"),
}
"""Keys that are read, and those of training; a k left over from before a set became JumpReLU is none."""


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with one set.

    Raises:
        TranscoderError: its configuration says something that is not read, or files are incomplete or
        corrupt.

    """
    path, config = layer_config(folder / _FILES[0], _CONFIG)
    refuse_unknown_keys(path, config, _KEYS)
    weights = next((folder / name for name in _FILES if (folder / name).is_file()), folder / _FILES[0])
    file = open_tensors(weights)
    _check(path, config)
    n_layers, features, width = (
        whole_number(config, key, path) for key in ("num_layers", "num_features", "d_model")
    )
    layers = []
    biases = [_decoder_bias(file, config, layer, width) for layer in range(n_layers)]
    for index in range(n_layers):
        encoder = f"encoder_module.encoders.{index}"
        decoder = _decoder(file, config, index, (n_layers, features, width))
        layers.append(
            TranscoderLayer(
                encoder=StoredEncoder.of(file.stored(f"{encoder}.weight", (features, width))),
                encoder_bias=file.read(f"{encoder}.bias_param", (features,)),
                decoder=decoder,
                decoder_bias=biases[index],
                activation=_activation(file, config, path, index, (n_layers, features)),
                skip=_skip(file, config, index, n_layers, width),
            )
        )
    file.refuse_unused()
    return Transcoders(tuple(layers), _point(config, "read", path), _point(config, "write", path), name)


def _matches(folder: Path) -> bool:
    if not (folder / _CONFIG).is_file():
        return False
    return {"num_features", "num_layers"} <= layer_config(folder / _FILES[0], _CONFIG)[1].keys()


def _check(path: Path, config: dict[str, Any]) -> None:
    if (norm := config.get("normalization_method", "none")) != "none":
        raise TranscoderError(
            f"{path}: normalization_method is {cut(norm)}: what inputs were divided by lies with the "
            "activations that the set was trained on, not with the set, and without it every number would "
            "be another one. Fold the normalisation into the weights, and write none."
        )


def _point(config: dict[str, Any], side: str, path: Path) -> HookPoint:
    key = "tl_input_template" if side == "read" else "tl_output_template"
    other = "mlp_input_template" if side == "read" else "mlp_output_template"
    said = [name for name in (key, other) if config.get(name) is not None] or [key]
    point = agreed([named_point(config.get(name), side, path, name) for name in said], path)
    assert point is not None  # a missing name was refused
    return point


def _names(config: dict[str, Any], source: int, target: int) -> str:
    tying = config.get("decoder_tying", "none")
    place = {"per_source": f"{source}", "per_target": f"{target}"}.get(str(tying), f"{source}->{target}")
    return f"decoder_module.decoders.{place}"


def _decoder(
    file: TensorFile, config: dict[str, Any], source: int, shape: tuple[int, int, int]
) -> StoredDecoder:
    n_layers, features, width = shape
    written = tuple(
        WrittenRows(
            file.stored(f"{_names(config, source, target)}.weight", (width, features)),
            feature_scale=_tied(file, config, "feature_scale", target, features),
            transposed=True,
        )
        for target in range(source, n_layers)
    )
    return StoredDecoder((features, len(written), width), written)


def _tied(file: TensorFile, config: dict[str, Any], kind: str, target: int, features: int) -> Tensor | None:
    name = f"decoder_module.{kind}.{target}"
    return file.read(name, (features,)).float() if config.get(f"enable_{kind}") and name in file else None


def _decoder_bias(file: TensorFile, config: dict[str, Any], target: int, width: int) -> Tensor:
    sources = [target] if config.get("decoder_tying") == "per_target" else range(target + 1)
    return sum(
        file.read(f"{_names(config, source, target)}.bias_param", (width,)).float() for source in sources
    )


def _activation(
    file: TensorFile, config: dict[str, Any], path: Path, source: int, shape: tuple[int, int]
) -> Activation:
    n_layers, features = shape
    named = config.get("activation_fn", "jumprelu")
    if named not in ("relu", "jumprelu"):
        raise TranscoderError(
            f"{path}: activation_fn is {cut(named)}, by which all layers (or a batch) share their k, and "
            "whose "
            "checkpoints hold no threshold: convert the set to jumprelu with its library's script."
        )
    gate = ReLU()
    if named == "jumprelu":
        gate = JumpReLU(file.read("theta_manager.log_threshold", shape)[source].float().exp())
    offsets = [_tied(file, config, "feature_offset", target, features) for target in range(source, n_layers)]
    offset = common_offset(offsets, file.path, f"feature_offset of layer {source}")
    return gate if offset is None else Gated(gate, offset=offset)


def _skip(file: TensorFile, config: dict[str, Any], target: int, n_layers: int, width: int) -> Tensor | None:
    if not config.get("skip_connection"):
        return None
    tied = config.get("decoder_tying", "none") != "none"
    for other in range(target + 1, n_layers) if not tied else ():
        if file.read(f"decoder_module.skip_weights.{target}->{other}", (width, width)).any():
            raise TranscoderError(
                f"{file.path} has a skip path from layer {target} to {other}, which a graph has no place "
                "for: only one from an MLP's own input to its output is read."
            )
    name = f"decoder_module.skip_weights.{target}" + ("" if tied else f"->{target}")
    return file.read(name, (width, width)).T


FORMAT = FileFormat(
    name="crosslayer-coding",
    files="`cfg.json` and `clt_checkpoint_latest.safetensors` or `model.safetensors`",
    kinds="CLT, skip",
    activations="ReLU, JumpReLU",
    published="",
    matches=_matches,
    read=read,
)
