"""One layer's tensors in one file, described as data and read by one function.

All formats with one file a layer hold the same tensors: an encoder, a decoder, their biases, sometimes a
skip path and a threshold. They differ in names, in which way round the matrices lie, and in how the
activation is said.
Legend: F features, L layers of the model, l this layer, d model width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, JumpReLU, rectified_threshold
from pipeline.transcoders.hook_points import HookPoint, Points
from pipeline.transcoders.tensors import StoredTensor, TensorFile, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder, WrittenRows


@dataclass(frozen=True)
class LayerFile:
    """One layer's file, and what is known of it from elsewhere."""

    tensors: TensorFile
    layer: int
    """Number of the layer, from 0."""

    n_layers: int
    """Layers of the model, L."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Configuration of the whole set; empty where a format has none."""


@dataclass(frozen=True)
class LayerLayout:
    """Layout of one layer in a format. `{}` in a name stands for the layer's number."""

    matches: Callable[[TensorFile], bool]
    """Test, by the tensors' names and shapes, that a file is one layer in this format."""

    activation: Callable[[LayerFile, int], Activation]
    """Reader of the activation, called with the file and its number of features; refuses a configuration that
    says that the file holds no transcoder."""

    encoder: str = "W_enc"
    encoder_bias: str = "b_enc"
    decoder: str = "W_dec"
    decoder_bias: str = "b_dec"
    skip: str = "W_skip"
    """Affine path beside the features; left out where the file has no such tensor."""

    encoder_is_transposed: bool = False
    """The encoder is stored as (d, F), not as (F, d)."""

    skip_is_transposed: bool = True
    """The skip path is stored as (output, input), so that it is applied as `x @ skip^T`."""

    writes: Literal["own", "own and above", "own or all"] = "own"
    """Layers in the decoder: only l, (F, d); l to L - 1, (F, L - l, d); or either l alone, (F, d), or all,
    (F, L, d), of which those below l are left out."""

    decoder_file: str = ""
    """Name of the file that holds the decoder, where it is another one."""

    decoder_lies_across: Callable[[LayerFile, StoredTensor, tuple[int, int]], bool] = lambda *_: False
    """Tells that a per-layer decoder is stored as (d, F), from the file, the tensor and the shape (F, d)."""

    may_lack_decoder_bias: bool = False
    """A file without a decoder bias has one of zeros."""

    fold: Callable[[LayerFile, TranscoderLayer], TranscoderLayer] = lambda file, layer: layer
    """Folds into a layer what else its file holds: norms, scales, offsets."""

    points: Callable[[LayerFile], Points] = lambda file: Points()
    """Reader of the hook points that the file's own configuration says; refuses what contradicts itself."""

    harmless: tuple[str, ...] = ()
    """Patterns of the names of tensors that change no result; any other that is not read is refused."""


def read_layer(file: LayerFile, layout: LayerLayout) -> TranscoderLayer:
    """Read one layer.

    Raises:
        TranscoderError: a tensor is missing, its shape does not fit the others, the activation is unknown, or
            the file holds a tensor that this format does not have.

    """
    tensors = file.tensors
    encoder = tensors.matrix(layout.encoder.format(file.layer))
    features, width = encoder.shape[::-1] if layout.encoder_is_transposed else encoder.shape
    activation = layout.activation(file, features)  # first: it reads the configuration beside the file
    skip = None
    if (name := layout.skip.format(file.layer)) in tensors:
        skip = tensors.read(name, (width, width))
        skip = skip.T if layout.skip_is_transposed else skip
    bias = layout.decoder_bias.format(file.layer)
    lacks_bias = layout.may_lack_decoder_bias and bias not in tensors
    layer = TranscoderLayer(
        encoder=StoredEncoder.of(encoder, layout.encoder_is_transposed),
        encoder_bias=tensors.read(layout.encoder_bias.format(file.layer), (features,)),
        decoder=_decoder(file, layout, features, width),
        decoder_bias=torch.zeros(width) if lacks_bias else tensors.read(bias, (width,)),
        activation=activation,
        skip=skip,
    )
    layer = layout.fold(file, layer)
    tensors.refuse_unused(layout.harmless)
    return layer


def read_set(
    paths: Sequence[Path],
    layout: LayerLayout,
    name: str,
    reads: HookPoint | None = None,
    writes: HookPoint | None = None,
) -> Transcoders:
    """Read one file a layer, from the first, of a format that has no configuration of the whole set.

    Args:
        paths: the files.
        layout: the format's.
        name: by which the set was asked for.
        reads: hook point that features read where no file says one.
        writes: the same of what they write.

    Raises:
        TranscoderError: see `read_layer`; or layers say different hook points, or none.

    """
    files = [LayerFile(open_tensors(path), index, len(paths)) for index, path in enumerate(paths)]
    said = [layout.points(file) for file in files]
    layers = tuple(read_layer(file, layout) for file in files)
    return Transcoders(
        layers,
        _one_point([(each.reads or reads, path) for each, path in zip(said, paths, strict=True)], "read"),
        _one_point([(each.writes or writes, path) for each, path in zip(said, paths, strict=True)], "write"),
        name,
    )


def _one_point(said: Sequence[tuple[HookPoint | None, Path]], verb: str) -> HookPoint:
    points: dict[HookPoint | None, Path] = {}
    for point, path in said:
        points.setdefault(point, path)
    if len(points) > 1 or None in points:
        found = " and ".join(f"{point} ({path})" for point, path in points.items())
        raise TranscoderError(f"layers {verb} at {found}, but a set reads at one point and writes at one.")
    return next(iter(points))


def _decoder(file: LayerFile, layout: LayerLayout, features: int, width: int) -> StoredDecoder:
    name = layout.decoder.format(file.layer)
    if not layout.decoder_file:
        return _decoder_rows(file, layout, file.tensors, name, features, width)
    tensors = open_tensors(file.tensors.path.with_name(layout.decoder_file.format(file.layer)))
    decoder = _decoder_rows(file, layout, tensors, name, features, width)
    tensors.refuse_unused(layout.harmless)
    return decoder


def _decoder_rows(
    file: LayerFile, layout: LayerLayout, tensors: TensorFile, name: str, features: int, width: int
) -> StoredDecoder:
    if layout.writes == "own and above":
        _check_depth(tensors.matrix(name, 3), name, file.layer, file.n_layers)
        shape = (features, file.n_layers - file.layer, width)
        return StoredDecoder.cross_layer(tensors.stored(name, shape))
    if layout.writes == "own or all" and len(tensors.stored(name).shape) == 3:
        _check_depth(tensors.stored(name), name, 0, file.n_layers)
        # Files of this kind repeat the layers below, to which a feature cannot write.
        return StoredDecoder.cross_layer(tensors.stored(name, (features, file.n_layers, width)), file.layer)
    if layout.decoder_lies_across(file, tensors.stored(name), (features, width)):
        across = WrittenRows(tensors.stored(name), transposed=True)
        return StoredDecoder((features, 1, width), (across,))
    return StoredDecoder.per_layer(tensors.stored(name, (features, width)))


def _check_depth(decoder: StoredTensor, name: str, below: int, n_layers: int) -> None:
    """Refuse a decoder that was trained for another number of layers than there are files."""
    depth = below + decoder.shape[1]
    if depth != n_layers:
        raise TranscoderError(
            f"{decoder.path}: {name} is of a model with {depth} layers, but {n_layers} files are given, one "
            f"a layer: {'one is too many' if n_layers > depth else 'one is missing'}, or the file is of "
            "another set."
        )


def clamped_threshold(file: LayerFile, n_features: int) -> JumpReLU:
    """Read the tensor `threshold` of a format that cuts at 0 too."""
    return rectified_threshold(file.tensors.read("threshold", (n_features,)))
