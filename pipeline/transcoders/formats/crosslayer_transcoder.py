"""Reader of the crosslayer-transcoder library: `config.yaml` and one `checkpoint.safetensors`.

`encoder.W` (L,d,F), `encoder.b` (L,F), `decoder.W_{i}` (i+1,F,d) for each layer i written *to*, indexed by
the layer that writes, `decoder.b` (L,d); a PLT has one `decoder.W` (L,F,d). Standardisers are folded in:
`(x - mean) / std` into the encoder, `y * std + mean` into the decoder, rows when they are read. The
nonlinearity is a JumpReLU `theta` (1,L,F), the `threshold` that a BatchTopK ends training with, a TopK of
rectified values, or a ReLU. The configuration says no hook points: this library trains on the residual
stream before the MLP's norm and on the MLP's output, which `feature_input_hook` and
`feature_output_hook` beside `model` can overrule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, ReLU, rectified_threshold, top_k
from pipeline.transcoders.formats.folder import FileFormat, set_config
from pipeline.transcoders.hook_points import hook_point
from pipeline.transcoders.tensors import TensorFile, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder, WrittenRows
from pipeline.untrusted import cut

_FILE = "checkpoint.safetensors"

_HARMLESS = ("nonlinearity.bandwidth", "*mask", "*dead_features*", "*last_active*")
"""Tensors that only the training uses."""


@dataclass(frozen=True)
class _Standard:
    """A standardiser's mean and deviation, (L, d)."""

    mean: Float[Tensor, "L d"]
    std: Float[Tensor, "L d"]


def read(folder: Path, name: str) -> Transcoders:
    """Read a checkpoint with the configuration beside it."""
    path, config = folder / "config.yaml", set_config(folder)
    model = config.get("model")
    if not isinstance(model, dict):
        raise TranscoderError(
            f"{path}: model is {cut(model)}, but must describe the checkpoint: fetch it again."
        )
    file = open_tensors(folder / _FILE)
    layers = tuple(_layers(file, model, path))
    folded = ("*_standardizer.mean", "*_standardizer.std") if model.get("is_folded") else ()
    file.refuse_unused((*_HARMLESS, *folded))
    return Transcoders(
        layers,
        hook_point(config.get("feature_input_hook", "hook_resid_mid"), "read", path, "feature_input_hook"),
        hook_point(config.get("feature_output_hook", "hook_mlp_out"), "write", path, "feature_output_hook"),
        name,
    )


def _layers(file: TensorFile, model: dict[str, Any], path: Path) -> list[TranscoderLayer]:
    encoder = file.stored("encoder.W")
    if len(encoder.shape) != 3:
        raise TranscoderError(
            f"{file.path}: encoder.W has shape {encoder.shape}, but must have (layers, d, features)."
        )
    n_layers, width, features = encoder.shape
    reads, writes = (_standard(file, model, path, side, n_layers, width) for side in ("input", "output"))
    bias = file.read("encoder.b", (n_layers, features))
    decoder_bias = file.read("decoder.b", (n_layers, width))
    if writes is not None:
        # y * std + mean: the decoder's rows get their part, the deviation, when they are read.
        decoder_bias = decoder_bias.float() * writes.std + writes.mean
    return [
        _folded(
            TranscoderLayer(
                encoder=StoredEncoder(encoder, (features, width), True, first=index * width),
                encoder_bias=bias[index],
                decoder=_decoder(file, index, encoder.shape, None if writes is None else writes.std),
                decoder_bias=decoder_bias[index],
                activation=_activation(file, model, path, index, encoder.shape),
            ),
            reads,
            index,
        )
        for index in range(n_layers)
    ]


def _folded(layer: TranscoderLayer, reads: _Standard | None, index: int) -> TranscoderLayer:
    """Fold the input's standardiser into one layer's encoder."""
    if reads is None:
        return layer
    stored, scale = layer.encoder, 1 / reads.std[index]
    encoder = StoredEncoder(stored.tensor, stored.shape, stored.transposed, stored.first, scale)
    # W ((x - mean) / std): what the mean would add is taken off the bias.
    shift = encoder.products(reads.mean[index][None])[0]
    return TranscoderLayer(
        encoder, layer.encoder_bias.float() - shift, layer.decoder, layer.decoder_bias, layer.activation
    )


def _decoder(
    file: TensorFile, index: int, shape: tuple[int, int, int], std: Float[Tensor, "L d"] | None
) -> StoredDecoder:
    n_layers, width, features = shape
    if "decoder.W" in file:
        targets = {index: file.stored("decoder.W", (n_layers, features, width))}
    else:
        targets = {
            target: file.stored(f"decoder.W_{target}", (target + 1, features, width))
            for target in range(index, n_layers)
        }
    written = tuple(
        # The tensor of a target stacks all layers that write to it, from the first.
        WrittenRows(tensor, first=index * features, scale=None if std is None else std[target])
        for target, tensor in targets.items()
    )
    return StoredDecoder((features, len(written), width), written)


def _standard(
    file: TensorFile, model: dict[str, Any], path: Path, side: str, n_layers: int, width: int
) -> _Standard | None:
    described = (model.get("init_args") or {}).get(f"{side}_standardizer") or {}
    if "Samplewise" in str(described.get("class_path")):
        raise TranscoderError(
            f"{path}: {side}_standardizer is {described['class_path']}, which is not linear in its input "
            "and cannot be folded in: use a set with dimension-wise or layer-wise standardisers."
        )
    key = f"{side}_standardizer"
    if model.get("is_folded") or not (described or f"{key}.mean" in file):
        return None
    per_layer = file.stored(f"{key}.mean").shape == (n_layers,)
    shape = (n_layers,) if per_layer else (n_layers, width)
    mean, std = (file.read(f"{key}.{part}", shape).float() for part in ("mean", "std"))
    if per_layer:
        mean, std = (value[:, None].expand(n_layers, width) for value in (mean, std))
    return _Standard(mean, std)


def _activation(
    file: TensorFile, model: dict[str, Any], path: Path, index: int, shape: tuple[int, int, int]
) -> Activation:
    n_layers, _, features = shape
    if "nonlinearity.theta" in file:
        return rectified_threshold(file.read("nonlinearity.theta", (1, n_layers, features))[0, index])
    if "nonlinearity.threshold" in file:
        threshold = file.read("nonlinearity.threshold").expand(n_layers)[index]
        # A BatchTopK ends with one threshold for all features of a layer.
        return rectified_threshold(threshold.repeat(features))
    described = (model.get("init_args") or {}).get("nonlinearity") or {}
    named = str(described.get("class_path")).rpartition(".")[2]
    if named == "PerLayerTopK":
        return top_k((described.get("init_args") or {}).get("k"), features, path, rectified=True)
    if named == "ReLU":
        return ReLU()
    raise TranscoderError(
        f"{path}: nonlinearity is {named}; without a theta or threshold in the checkpoint it must be "
        "PerLayerTopK or ReLU."
    )


FORMAT = FileFormat(
    name="crosslayer-transcoder",
    files="`config.yaml` and `checkpoint.safetensors`",
    kinds="PLT, CLT",
    activations="ReLU, JumpReLU, TopK",
    published="",
    matches=lambda folder: (folder / _FILE).is_file(),
    read=read,
)
