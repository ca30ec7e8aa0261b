"""Edges as dense blocks that leave out what must be zero.

A row (target) has no edge from its own layer or above, and none from later positions. So the rows
that were traced together share one block per source layer, source-major, holding just the sources
below them and up to their last position: about a quarter of the full matrix on long prompts. Every
computation on a graph (influence, pruning, scores) is a pass over these blocks; nothing is ever
square in the number of nodes.

Legend: T positions, L layers, n active features, K targets, S sources of a block, R its rows.
Sources are numbered cell by cell, a cell being one (layer, position): its active features in order,
then its error; tokens follow after all cells. Rows are numbered by active feature, then by target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

TOKEN_LAYER = -1
"""Layer number of token sources."""


@dataclass(frozen=True)
class SourceIndex:
    """Numbering of the possible sources of a prompt's edges."""

    active_features: Int[Tensor, "n 3"]
    """(layer, position, feature), sorted."""

    n_layers: int
    """L."""

    n_positions: int
    """T."""

    @property
    def count(self) -> int:
        """Number of sources: n + L T + T."""
        return len(self.active_features) + (self.n_layers + 1) * self.n_positions

    @cached_property
    def cell_starts(self) -> Int[Tensor, " LT+1"]:
        """First source of each cell, layer-major; one entry more marks the first token."""
        cells = self.active_features[:, 0] * self.n_positions + self.active_features[:, 1]
        sizes = torch.bincount(cells, minlength=self.n_layers * self.n_positions) + 1
        return torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))

    @cached_property
    def features(self) -> Int[Tensor, " n"]:
        """Source number of each active feature: its index, plus one error for each cell before it."""
        cells = self.active_features[:, 0] * self.n_positions + self.active_features[:, 1]
        return torch.arange(len(cells), device=cells.device) + cells

    @cached_property
    def errors(self) -> Int[Tensor, " LT"]:
        """Source number of each error, layer-major."""
        return self.cell_starts[1:] - 1

    @cached_property
    def tokens(self) -> Int[Tensor, " T"]:
        """Source number of each token."""
        return self.cell_starts[-1] + torch.arange(self.n_positions, device=self.cell_starts.device)

    @cached_property
    def layer_starts(self) -> list[int]:
        """First active feature of each layer, and one entry more for the end."""
        counts = torch.bincount(self.active_features[:, 0], minlength=self.n_layers)
        return [0, *counts.cumsum(0).tolist()]


@dataclass(frozen=True)
class EdgeBlock:
    """Edges from one layer's sources, all or the strongest, to some rows."""

    layer: int
    """Layer of the sources; `TOKEN_LAYER` for tokens."""

    sources: Int[Tensor, " S"]
    """The sources, ascending; all of the layer's errors up to the last position are among them."""

    rows: Int[Tensor, " R"]
    """The targets: an active feature's index, or n + a target's index."""

    weights: Float[Tensor, "S R"]
    """Direct effect of each source on each row."""

    dropped: Float[Tensor, " R"] | None = None
    """Sum of each row's absolute edges from features that the block leaves out; None where it has all."""

    dropped_sum: Float[Tensor, " R"] | None = None
    """As `dropped`, with the edges' signs."""


@dataclass(frozen=True)
class EdgeBlocks:
    """All known edges of one prompt."""

    sources: SourceIndex
    """Numbering of the sources."""

    n_targets: int
    """K."""

    blocks: tuple[EdgeBlock, ...]
    """In no particular order; no edge is in two blocks."""

    @property
    def n_rows(self) -> int:
        """Size of the numbering of rows: n + K."""
        return len(self.sources.active_features) + self.n_targets

    @property
    def n_bytes(self) -> int:
        """Memory that the blocks take."""
        return sum(block.weights.nbytes for block in self.blocks)

    @property
    def device(self) -> torch.device:
        """Device of the blocks."""
        return self.sources.active_features.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision for sums over edges: theirs, and at least float32, since shares need its range."""
        return torch.promote_types(self.blocks[0].weights.dtype, torch.float32)

    def __add__(self, other: EdgeBlocks) -> EdgeBlocks:
        """Join the rows of two passes over the same prompt."""
        return EdgeBlocks(self.sources, self.n_targets, self.blocks + other.blocks)

    def from_top(self) -> Iterator[tuple[int, list[EdgeBlock]]]:
        """Yield each layer with the blocks whose sources it holds, highest first, tokens last."""
        by_layer: dict[int, list[EdgeBlock]] = {}
        for block in self.blocks:
            by_layer.setdefault(block.layer, []).append(block)
        for layer in range(self.sources.n_layers - 1, TOKEN_LAYER - 1, -1):
            yield layer, by_layer.get(layer, [])

    def row_sums(self, keep: Bool[Tensor, " sources"]) -> Float[Tensor, " rows"]:
        """Return the sum of each row's absolute edges from the sources in `keep`."""
        everything = bool(keep.all())
        sums = torch.zeros(self.n_rows, device=self.device, dtype=self.dtype)
        for block in self.blocks:
            kept = keep[block.sources].to(self.dtype)
            sums.index_add_(0, block.rows, kept @ block.weights.abs().to(self.dtype))
            # Dropped edges are known by their sum alone, so they count only where every source does.
            if everything and block.dropped is not None:
                sums.index_add_(0, block.rows, block.dropped.to(self.dtype))
        return sums

    def signed_row_sums(self) -> Float[Tensor, " rows"]:
        """Return the sum of each row's edges with their signs, in float64, left-out ones included."""
        sums = torch.zeros(self.n_rows, device=self.device, dtype=torch.float64)
        for block in self.blocks:
            sums.index_add_(0, block.rows, block.weights.sum(0, dtype=torch.float64))
            if block.dropped_sum is not None:
                sums.index_add_(0, block.rows, block.dropped_sum.double())
        return sums

    def dropped_share(self) -> float:
        """Return the share of all absolute edges that blocks have left out, 0 to 1."""
        dropped = sum(
            float(block.dropped.double().sum()) for block in self.blocks if block.dropped is not None
        )
        kept = sum(float(block.weights.abs().double().sum()) for block in self.blocks) if dropped else 1.0
        return dropped / (kept + dropped)
