"""Which features get a row, and in which blocks rows are computed.

Every active feature is a source; expanding one makes it a target too. Either all are expanded, or
circuit-tracer's rule is followed: again and again compute influence from the rows known so far and
expand the most influential features that have none, until a cap is reached.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.attribution.rows import Descent, RowBlock, descend
from pipeline.graph import EdgeBlocks, influence

POSITION_GROUPS = 16
"""Rows are grouped by position into about this many groups; more waste less, fewer make larger products."""

SMALLEST_GROUP = 64
"""Groups of fewer rows are joined: below this, starting a product costs more than its arithmetic."""


def explore(
    descent: Descent,
    weights: Float[Tensor, " K"],
    max_feature_nodes: int | None,
    batch_size: int,
    update_interval: int,
    block_pairs: int,
) -> tuple[EdgeBlocks, Int[Tensor, " m"]]:
    """Compute the rows of all targets and of the chosen features.

    Args:
        descent: the prompt.
        weights: weight of each target.
        max_feature_nodes: how many features to expand; None for all.
        batch_size: with `update_interval`, how many features are chosen at a time (their product).
        update_interval: see `batch_size`.
        block_pairs: most (row, position) pairs to carry down together.

    Returns:
        The edges, and the expanded features as ascending indices into the active ones.

    """
    n_active = len(descent.sources.active_features)
    device = descent.target_rows.device
    targets = n_active + torch.arange(len(weights), device=device)
    if max_feature_nodes is None or max_feature_nodes >= n_active:
        everything = torch.arange(n_active + len(weights), device=device)
        return _rows(descent, everything, block_pairs), everything[:n_active]

    expanded = torch.zeros(n_active, dtype=torch.bool, device=device)
    edges = _rows(descent, targets, block_pairs)
    while (left := max_feature_nodes - int(expanded.sum())) > 0:
        chosen = _most_influential(edges, weights, expanded)[: min(left, batch_size * update_interval)]
        expanded[chosen] = True
        edges = edges + _rows(descent, chosen, block_pairs)
    return edges, expanded.nonzero()[:, 0]


def _most_influential(
    edges: EdgeBlocks, weights: Float[Tensor, " K"], expanded: Bool[Tensor, " n"]
) -> Int[Tensor, " left"]:
    """Return the unexpanded features by influence, strongest first."""
    everything = torch.ones(edges.sources.count, dtype=torch.bool, device=edges.device)
    flow = influence(edges, weights, everything).sources[edges.sources.features]
    ranked = torch.argsort(flow, descending=True, stable=True)
    return ranked[~expanded[ranked]]


def _rows(descent: Descent, rows: Int[Tensor, " R"], block_pairs: int) -> EdgeBlocks:
    blocks = []
    for block in row_blocks(descent, rows, block_pairs):
        blocks += descend(descent, block)
    return EdgeBlocks(descent.sources, len(descent.target_rows), tuple(blocks))


def row_blocks(descent: Descent, rows: Int[Tensor, " R"], block_pairs: int) -> Iterator[RowBlock]:
    """Group rows by position, then cut each group, highest layers first, into blocks that fit."""
    sources = descent.sources
    n_active, n_layers, n_positions = len(sources.active_features), sources.n_layers, sources.n_positions
    is_target = rows >= n_active
    features = (
        sources.active_features[rows.clamp(max=max(n_active - 1, 0))]
        if n_active
        else rows.new_zeros(len(rows), 3)
    )
    layer = torch.where(is_target, n_layers, features[:, 0])
    position = torch.where(is_target, n_positions - 1, features[:, 1])
    for group in _position_groups(position, n_positions):
        ordered = group[torch.argsort(layer[group], descending=True, stable=True)]
        length = int(position[group].max()) + 1
        for part in ordered.split(max(1, block_pairs // length)):
            reading = layer[part]
            live = [int((reading >= at).sum()) for at in range(n_layers + 1)]
            yield RowBlock(rows[part], live, int(position[part].max()) + 1)


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
