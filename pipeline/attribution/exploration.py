"""Choice of the features that get a row.

Every active feature is a source; expanding one makes it a target too. All are expanded, or the most
influential: again and again compute influence from the rows known so far and expand those that hold
most of it, until a cap is reached (circuit-tracer's rule) or what the rest holds is within a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.attribution.attribution_pass import PassInputs, attribution_pass
from pipeline.attribution.options import AttributionOptions
from pipeline.attribution.row_blocks import row_blocks
from pipeline.attribution.top_edges import keep_top_edges
from pipeline.graph import EdgeBlocks, SourceIndex, influence

Rows = Callable[[Int[Tensor, " R"]], EdgeBlocks]
"""Rows of a graph, by their numbers, to their edges."""


def compute_rows(
    inputs: PassInputs, wanted: Int[Tensor, " R"], options: AttributionOptions, block_pairs: int
) -> EdgeBlocks:
    """Compute some rows, `block_pairs` (row, position) pairs together."""
    blocks = []
    for block in row_blocks(inputs.sources, inputs.targets.reads, wanted, block_pairs):
        edges = attribution_pass(inputs, block)
        if options.edges_per_row is not None:
            edges = keep_top_edges(edges, inputs.sources, options.edges_per_row)
        blocks += edges
    return EdgeBlocks(inputs.sources, len(inputs.targets.targets), tuple(blocks))


def explore(
    sources: SourceIndex, weights: Float[Tensor, " K"], options: AttributionOptions, rows: Rows
) -> tuple[EdgeBlocks, Int[Tensor, " m"]]:
    """Gather the rows of all targets and of the features that the options choose.

    Args:
        sources: numbering of the features.
        weights: weight of each target.
        options: rule for the features that get a row.
        rows: gives the edges of rows.

    Returns:
        The edges, and the expanded features as ascending indices into the active ones.

    """
    n_active, device = len(sources.active_features), sources.active_features.device
    if options.expands_all(n_active):
        everything = torch.arange(n_active + len(weights), device=device)
        return rows(everything), everything[:n_active]

    expanded = torch.zeros(n_active, dtype=torch.bool, device=device)
    edges = rows(n_active + torch.arange(len(weights), device=device))
    while len(chosen := _next(edges, weights, expanded, options)):
        expanded[chosen] = True
        edges = edges + rows(chosen)
    return edges, expanded.nonzero()[:, 0]


def _next(
    edges: EdgeBlocks, weights: Float[Tensor, " K"], expanded: Bool[Tensor, " n"], options: AttributionOptions
) -> Int[Tensor, " chosen"]:
    """Return the features to expand now, most influential first; none when the options are met."""
    everything = torch.ones(edges.sources.count, dtype=torch.bool, device=edges.device)
    flow = influence(edges, weights, everything).sources
    features = flow[edges.sources.features]
    # Stable: of features of equal influence the same are chosen every time.
    ranked = torch.argsort(features, descending=True, stable=True)
    waiting = ranked[~expanded[ranked]]
    left = len(expanded) if options.max_feature_nodes is None else options.max_feature_nodes
    left -= int(expanded.sum())
    if options.tolerance is None:
        return waiting[: min(left, options.batch_size * options.update_interval)]
    # The fewest that leave less than the tolerance; what flows on from them may need another round.
    held = features[waiting].double()
    rest = held.sum() - held.cumsum(0)
    allowed = options.tolerance * float(flow.double().sum())
    needed = 0 if held.sum() < allowed else int((rest >= allowed).sum()) + 1
    return waiting[: min(left, needed)]
