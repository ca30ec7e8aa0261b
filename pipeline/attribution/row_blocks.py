"""Grouping of rows into the blocks that go down together.

A row costs nothing above its own layer and should cost nothing after its own position. So rows are
grouped by position, a group going down no further than its last one, and within a group those that
read highest come first: the rows alive at a layer are then always the first of their block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.graph import SourceIndex

POSITION_GROUPS = 16
"""Rows are grouped by position into about this many groups; more waste less, fewer make larger products."""

SMALLEST_GROUP = 64
"""Groups of fewer rows are joined: below this, starting a product costs more than its arithmetic."""

CPU_BLOCK_PAIRS = 4096
"""(row, position) pairs carried down together: 8 MB of gradients at width 512, which a cache can hold."""

CUDA_BLOCK_PAIRS = 65_536
"""On a GPU each product is a launch that costs the same however small it is; 0.6 GB at width 2304."""

FEWEST_ROWS = 32
"""A block has at least as many rows however long the prompt: each block reads all source vectors once."""


def preferred_block_pairs(device: torch.device) -> int:
    """Return the block size that is fastest where memory is no concern."""
    return CUDA_BLOCK_PAIRS if device.type == "cuda" else CPU_BLOCK_PAIRS


@dataclass(frozen=True)
class RowBlock:
    """Rows that go down together, those that read highest first. R rows."""

    rows: Int[Tensor, " R"]
    """Their numbers in the graph's numbering of rows."""

    live: list[int]
    """For each layer, and above them all (L), how many read there or higher; 0 for L + 1."""

    targets: list[int]
    """For each of these, how many of the rows that read just there are targets; they follow the features."""

    n_positions: int
    """Positions up to the last that any of them reads."""


def row_blocks(
    sources: SourceIndex, target_reads: Int[Tensor, "K 2"], rows: Int[Tensor, " R"], block_pairs: int
) -> Iterator[RowBlock]:
    """Cut rows into blocks of about `block_pairs` (row, position) pairs.

    Args:
        sources: numbering of the features.
        target_reads: (layer, position) where each target reads.
        rows: the rows to compute.
        block_pairs: (row, position) pairs of a full block.

    """
    # On the host, in one go: what a block needs to know must not make the device wait layer by layer.
    layer, position = torch.cat((sources.active_features[:, :2], target_reads))[rows].cpu().unbind(1)
    is_target = (rows >= len(sources.active_features)).cpu()
    # Within a layer features come before targets, as `RowBlock.targets` counts them.
    rank = 2 * layer - is_target.long()
    for group in _position_groups(position, sources.n_positions):
        ordered = group[torch.argsort(rank[group], descending=True, stable=True)]
        length = int(position[group].max()) + 1
        size = min(max(1, block_pairs // length, FEWEST_ROWS), max(1, block_pairs))
        for part in ordered.split(size):
            counts = torch.bincount(layer[part], minlength=sources.n_layers + 1)
            live = [*counts.flip(0).cumsum(0).flip(0).tolist(), 0]
            targets = torch.bincount(layer[part][is_target[part]], minlength=sources.n_layers + 1).tolist()
            yield RowBlock(rows[part.to(rows.device)], live, targets, int(position[part].max()) + 1)


def _position_groups(position: Int[Tensor, " R"], n_positions: int) -> list[Int[Tensor, " r"]]:
    """Split rows into groups of neighbouring positions, last positions first."""
    width = -(-n_positions // POSITION_GROUPS)
    groups: list[Tensor] = []
    pending = position.new_zeros(0)
    for last in range(n_positions - 1, -1, -width):
        here = ((position <= last) & (position > last - width)).nonzero()[:, 0]
        pending = torch.cat((pending, here))
        if len(pending) >= SMALLEST_GROUP:
            groups.append(pending)
            pending = position.new_zeros(0)
    if len(pending):
        groups.append(pending)
    return groups
