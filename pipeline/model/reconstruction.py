"""MLP outputs as what a dictionary reconstructs, and the error that is left.

Legend: T positions, d model width, n active features of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import PromptError
from pipeline.transcoders import TranscoderLayer, Transcoders


def explain_outputs(
    transcoders: Transcoders,
    inputs: Iterable[Float[Tensor, "T d"]],
    outputs: Sequence[Float[Tensor, "T d"]],
    zero_positions: int,
) -> Iterator[tuple[Int[Tensor, "n 2"], Float[Tensor, " n"], Float[Tensor, "T d"]]]:
    """Yield each layer's active features (position, feature), their activations, and the error.

    Args:
        transcoders: stand in for the MLPs.
        inputs: what it reads on one prompt, by layer.
        outputs: what each MLP adds to the residual stream.
        zero_positions: first positions that carry no features and no errors.

    Raises:
        PromptError: an activation or an MLP output is not a number.

    """
    reconstruction = [torch.zeros_like(output) for output in outputs]
    for index, (layer, read) in enumerate(zip(transcoders.layers, inputs, strict=True)):
        features, activations = _encode(layer, read, zero_positions, index)
        _reconstruct(layer, read, features, activations, reconstruction[index:])
        # Complete by now: what writes at a layer reads at it or below.
        error = outputs[index] - reconstruction[index]
        error[:zero_positions] = 0
        check_finite(error, "the MLP output", index)
        yield features, activations, error


def _encode(
    layer: TranscoderLayer, inputs: Float[Tensor, "T d"], zero_positions: int, index: int
) -> tuple[Int[Tensor, "n 2"], Float[Tensor, " n"]]:
    activations = layer.encode(inputs)
    activations[:zero_positions] = 0
    features = activations.nonzero()
    values = activations[features[:, 0], features[:, 1]]
    check_finite(values, "a feature's activation", index)
    return features, values


def _reconstruct(
    layer: TranscoderLayer,
    inputs: Float[Tensor, "T d"],
    features: Int[Tensor, "n 2"],
    activations: Float[Tensor, " n"],
    written: list[Float[Tensor, "T d"]],
) -> None:
    """Add one layer's features, bias and skip path to the reconstructions it writes to."""
    # The bias and the skip path belong to the layer itself, whatever its features write to.
    written[0] += layer.decoder_bias
    if layer.skip is not None:
        written[0] += inputs @ layer.skip
    for write in range(layer.decoder.shape[1]):
        rows = layer.decoder_rows(features[:, 1], write) * activations[:, None]
        there = written[write].device
        written[write].index_add_(0, features[:, 0].to(there), rows.to(there))


def check_finite(values: Tensor, what: str, layer: int) -> None:
    """Refuse values that are no numbers.

    Raises:
        PromptError: one of them is not finite.

    """
    if not torch.isfinite(values).all():
        raise PromptError(
            f"{what} at layer {layer} is not a finite number on this prompt: "
            "the model overflows in this precision, or its weights are damaged."
        )
