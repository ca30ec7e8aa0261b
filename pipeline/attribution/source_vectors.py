"""The directions that a prompt's sources write into the residual stream.

A feature's vector is its activation times its decoder row (for a CLT one for each layer written to),
an error's is itself. Per layer they are stacked in source order, cell by cell, so that the edges from
one cell are one matrix product.

Legend: n features of a layer, S its sources (features and errors), T positions, d model width.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pipeline.graph import SourceIndex
from pipeline.model import FrozenModel


@dataclass(frozen=True)
class LayerVectors:
    """Vectors that one layer's sources write to the residual stream."""

    start: int
    """Number of the layer's first source."""

    cells: list[int]
    """First source of each position counted from `start`, and one entry more for the end."""

    own: Float[Tensor, "S d"]
    """Written at the layer itself, and lying there: features and, last in each cell, the error."""

    above: tuple[Float[Tensor, "S d"], ...]
    """Written at each layer above (CLT), and lying there; rows of errors are 0 there."""

    def at(self, write: int) -> Float[Tensor, "S d"]:
        """Return the vectors written `write` layers above the layer itself."""
        return self.own if write == 0 else self.above[write - 1]


def source_vectors(frozen: FrozenModel, sources: SourceIndex) -> tuple[LayerVectors, ...]:
    """Build every layer's source vectors."""
    return tuple(_layer_vectors(frozen, sources, layer) for layer in range(len(frozen.layers)))


def _layer_vectors(frozen: FrozenModel, sources: SourceIndex, layer: int) -> LayerVectors:
    T = frozen.n_positions
    cells = sources.cell_starts[layer * T : (layer + 1) * T + 1]
    start = int(cells[0])
    local = sources.features[sources.layer_starts[layer] : sources.layer_starts[layer + 1]] - start
    transcoder, here = frozen.transcoders.layers[layer], frozen.layers[layer]
    written = []
    for write in range(transcoder.decoder.shape[1]):
        there = frozen.layers[layer + write].error
        vectors = there.new_zeros(int(cells[-1]) - start, there.shape[1])
        rows = transcoder.decoder_rows(here.features[:, 1], write) * here.activations[:, None]
        vectors[local.to(there.device)] = rows.to(there.device)
        written.append(vectors)
    written[0][(cells[1:] - 1 - start).to(here.error.device)] = here.error
    return LayerVectors(start, (cells - start).tolist(), written[0], tuple(written[1:]))
