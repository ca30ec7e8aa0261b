"""Influence of every node on the targets, and the two scores made from it.

With `M` the absolute edges, each row divided by its sum, and `w` the target weights, influence is
`wM + wM^2 + ...` (Circuit Tracing, 2025). A node's influence only comes from rows of higher layers,
so one pass from the top layer down gives the whole series: exact, and no iteration to convergence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipeline.graph.edge_blocks import TOKEN_LAYER, EdgeBlocks

SMALLEST_ROW = 1e-10
"""Rows whose absolute edges sum to less are not scaled up (circuit-tracer's clamp)."""


@dataclass(frozen=True)
class Influence:
    """Influence of a graph's nodes on its targets."""

    sources: Float[Tensor, " sources"]
    """Influence of each source; 0 for those left out."""

    rows: Float[Tensor, " rows"]
    """Influence of each row: of an expanded feature as a source, or a target's weight."""

    row_sums: Float[Tensor, " rows"]
    """Divisor of each row."""


def influence(edges: EdgeBlocks, weights: Float[Tensor, " K"], keep: Bool[Tensor, " sources"]) -> Influence:
    """Compute every source's influence on the targets.

    Args:
        edges: the known edges; a feature without a row passes nothing on.
        weights: weight of each target, usually its probability.
        keep: sources that take part; the others' columns and rows count as zero.

    """
    starts = edges.sources.layer_starts
    row_sums = edges.row_sums(keep).clamp(min=SMALLEST_ROW)
    rows = torch.zeros_like(row_sums)
    rows[len(edges.sources.active_features) :] = weights.to(rows)
    result = torch.zeros(edges.sources.count, device=edges.device, dtype=edges.dtype)
    for layer, blocks in edges.from_top():
        for block in blocks:
            sizes = block.weights.abs().to(edges.dtype)
            result.index_add_(0, block.sources, sizes @ (rows / row_sums)[block.rows])
        if layer != TOKEN_LAYER:
            first, last = starts[layer], starts[layer + 1]
            features = edges.sources.features[first:last]
            # Complete by now: a layer's features get influence from rows of higher layers only.
            rows[first:last] = result[features] * keep[features]
    return Influence(result * keep, rows, row_sums)


def scores(
    edges: EdgeBlocks, weights: Float[Tensor, " K"], keep: Bool[Tensor, " sources"]
) -> tuple[float, float]:
    """Return (replacement, completeness) of a graph.

    Replacement: tokens' influence over tokens' and errors'. Completeness: the share of each node's
    inputs that does not come from errors, averaged by what the node carries.
    """
    flow = influence(edges, weights, keep)
    is_error = torch.zeros_like(keep)
    is_error[edges.sources.errors] = True
    tokens = flow.sources[edges.sources.tokens].double().sum()
    errors = flow.sources[edges.sources.errors].double().sum()
    error_share = edges.row_sums(is_error & keep) / flow.row_sums
    carried = flow.sources.double().sum() + weights.double().sum()
    lost = (error_share.double() * flow.rows.double()).sum()
    replacement = tokens / (tokens + errors).clamp(min=SMALLEST_ROW)
    completeness = (carried - lost) / carried.clamp(min=SMALLEST_ROW)
    return replacement.item(), completeness.item()
