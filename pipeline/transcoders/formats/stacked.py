"""Layers whose tensors lie on top of each other in one file, as several libraries keep a cross-layer set.

Legend: L layers, F features, d model width. Encoders are (L, d, F) there; where decoders lie differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation
from pipeline.transcoders.tensors import StoredTensor
from pipeline.transcoders.transcoders import TranscoderLayer
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder, WrittenRows


def stacked_layers(
    encoder: StoredTensor,
    encoder_bias: Float[Tensor, "L F"],
    decoder: Callable[[int], Sequence[WrittenRows]],
    decoder_bias: Float[Tensor, "L d"],
    activation: Callable[[int, StoredDecoder], Activation],
    reads: Float[Tensor, " L"] | None = None,
    writes: Float[Tensor, " L"] | None = None,
) -> tuple[TranscoderLayer, ...]:
    """Return the layers of such a file.

    Args:
        encoder: all layers' (L, d, F).
        encoder_bias: all layers'.
        decoder: gives the rows that a layer writes, to itself and to each layer above that it writes to.
        decoder_bias: all layers', before `writes`.
        activation: gives a layer's, from its number and its decoder.
        reads: factor of each layer's input, folded into encoders.
        writes: factor of what is written to each layer, folded into decoders and their bias.

    """
    n_layers, width, features = encoder.shape
    layers = []
    for index in range(n_layers):
        written = tuple(decoder(index))
        rows = StoredDecoder((features, len(written), width), written)
        if writes is not None:
            rows = rows.scaled(writes[index : index + len(written)].tolist())
        layers.append(
            TranscoderLayer(
                encoder=StoredEncoder(
                    encoder,
                    (features, width),
                    transposed=True,
                    first=index * width,
                    scale=None if reads is None else reads[index].expand(width),
                ),
                encoder_bias=encoder_bias[index],
                decoder=rows,
                decoder_bias=decoder_bias[index]
                if writes is None
                else decoder_bias[index].float() * writes[index],
                activation=activation(index, rows),
            )
        )
    return tuple(layers)


def same_factor(factors: Float[Tensor, " L"]) -> Float[Tensor, " L"] | None:
    """Return factors, or None where all are 1 and there is nothing to fold."""
    return None if torch.all(factors == 1) else factors


def common_offset(offsets: Sequence[Tensor | None], path: Path, what: str) -> Float[Tensor, " F"] | None:
    """Return the offset that active features have at every layer that they write to, or None where it is 0.

    A feature has one activation, so that an offset of its own for each layer written to cannot be folded in.

    Raises:
        TranscoderError: the offsets differ.

    """
    given = [offset for offset in offsets if offset is not None]
    if not any(offset.any() for offset in given):
        return None
    if any(not torch.equal(offset, given[0]) for offset in given):
        raise TranscoderError(
            f"{path}: the {what} differs between the layers that are written to. A feature has one "
            "activation in a graph, so only an offset that is the same for all of them can be folded in."
        )
    return given[0]
