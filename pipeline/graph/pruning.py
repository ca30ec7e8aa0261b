"""Keep the nodes and edges that carry most of the influence (circuit-tracer's rule, step by step).

1. Keep the most influential nodes that together reach `node_threshold`, or, ours, a small circuit; tokens and
   targets always stay.
2. Renormalise the edges between kept nodes and score each by what flows over it.
3. Keep the strongest edges that together reach `edge_threshold`.
4. Until nothing changes, drop features and errors without an outgoing edge and features without an
   incoming one.

Only edges between kept nodes are ever gathered, so the cost is a few passes over the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.errors import ConfigurationError
from pipeline.graph.attribution_graph import AttributionGraph, PrunedGraph
from pipeline.graph.edge_blocks import EdgeBlock, EdgeBlocks
from pipeline.graph.influence import influence, scores
from pipeline.graph.node_columns import NodeColumns
from pipeline.graph.node_index import NodeIndex
from pipeline.graph.small_circuit import small_circuit


@dataclass(frozen=True)
class EdgeList:
    """Edges as lists, end points numbered as nodes."""

    target: Int[Tensor, " E"]
    source: Int[Tensor, " E"]
    weight: Float[Tensor, " E"]
    score: Float[Tensor, " E"]

    def __getitem__(self, keep: Tensor) -> EdgeList:
        return EdgeList(self.target[keep], self.source[keep], self.weight[keep], self.score[keep])


def prune(
    graph: AttributionGraph,
    node_threshold: float = 0.8,
    edge_threshold: float = 0.98,
    small: int | None = None,
) -> PrunedGraph:
    """Reduce a graph to the nodes and edges that carry most of the influence on its targets.

    Args:
        graph: the graph.
        node_threshold: share of influence that the kept nodes must carry, 0 to 1.
        edge_threshold: share of the flow between kept nodes that the kept edges must carry, 0 to 1.
        small: budget of features; in place of `node_threshold` the features are kept that together make the
            graph most complete (`small_circuit`), with tokens and targets and no errors.

    Raises:
        ConfigurationError: a threshold is not between 0 and 1, or the budget is below 1.

    """
    for name, value in (("node_threshold", node_threshold), ("edge_threshold", edge_threshold)):
        if not 0 <= value <= 1:
            raise ConfigurationError(f"{name} is {value}; it is a share and must be from 0 to 1.")
    nodes = graph.node_index()
    weights = graph.target_probabilities.to(graph.edges.device)
    whole = influence(graph.edges, weights, nodes.is_node)
    node_influence = nodes.from_sources(whole.sources)
    keep = kept_nodes(node_influence, node_threshold, nodes)
    if small is not None:
        keep[: nodes.first_token] = False
        keep[small_circuit(graph, small).nodes.to(keep.device)] = True
    edges = edges_between(graph, nodes, keep)
    edges = edges[edges.score >= threshold(edges.score, edge_threshold)]
    keep, edges = drop_dangling(keep, edges, nodes)
    return _pruned_graph(graph, nodes, weights, node_influence, keep, edges)


def threshold(values: Float[Tensor, " n"], share: float) -> Float[Tensor, ""]:
    """Return the smallest value among the largest ones that together reach a share of the sum."""
    if not len(values):
        return values.new_zeros(())
    ordered = values.sort(descending=True).values
    # In float64: over a hundred thousand nodes a float32 sum does not see the small ones any more.
    cumulative = ordered.double().cumsum(0) / ordered.double().sum()
    index = torch.searchsorted(cumulative, cumulative.new_tensor(share))
    return ordered[index.clamp(max=len(ordered) - 1)]


def kept_nodes(
    node_influence: Float[Tensor, " N"], node_threshold: float, nodes: NodeIndex
) -> Bool[Tensor, " N"]:
    """Tell which nodes carry that share of the influence; tokens and targets always stay."""
    keep = node_influence >= threshold(node_influence, node_threshold)
    keep[nodes.first_token :] = True
    return keep


def edges_between(graph: AttributionGraph, nodes: NodeIndex, keep: Bool[Tensor, " N"]) -> EdgeList:
    """Return all non-zero edges between kept nodes with their normalised influence."""
    weights = graph.target_probabilities.to(graph.edges.device)
    keep_source, keep_row = nodes.to_sources(keep), nodes.to_rows(keep)
    # Anew: rows are divided by what is left of them when removed nodes pass nothing on.
    flow = influence(graph.edges, weights, keep_source)
    carried = flow.rows / flow.row_sums
    parts = [_gather(block, nodes, keep_source, keep_row, carried) for block in graph.edges.blocks]
    return EdgeList(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _gather(
    block: EdgeBlock,
    nodes: NodeIndex,
    keep_source: Bool[Tensor, " sources"],
    keep_row: Bool[Tensor, " rows"],
    carried: Float[Tensor, " rows"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sources = keep_source[block.sources].nonzero()[:, 0]
    rows = keep_row[block.rows].nonzero()[:, 0]
    weights = block.weights[sources[:, None], rows]
    source, row = weights.nonzero().unbind(1)
    weight = weights[source, row]
    target_row = block.rows[rows[row]]
    return (
        nodes.of_row[target_row],
        nodes.of_source[block.sources[sources[source]]],
        weight,
        weight.abs() * carried[target_row],
    )


def drop_dangling(
    keep: Bool[Tensor, " N"], edges: EdgeList, nodes: NodeIndex
) -> tuple[Bool[Tensor, " N"], EdgeList]:
    """Drop features and errors without an outgoing edge and features without an incoming one; repeat."""
    while True:
        has_outgoing = torch.zeros_like(keep).index_fill_(0, edges.source, True)
        has_incoming = torch.zeros_like(keep).index_fill_(0, edges.target, True)
        still = keep.clone()
        still[: nodes.first_token] &= has_outgoing[: nodes.first_token]
        still[: nodes.first_error] &= has_incoming[: nodes.first_error]
        if torch.equal(still, keep):
            return keep, edges
        keep = still
        edges = edges[keep[edges.target] & keep[edges.source]]


def _pruned_graph(
    graph: AttributionGraph,
    nodes: NodeIndex,
    weights: Float[Tensor, " K"],
    node_influence: Float[Tensor, " N"],
    keep: Bool[Tensor, " N"],
    edges: EdgeList,
) -> PrunedGraph:
    kept = keep.nonzero()[:, 0]
    index = torch.cumsum(keep, 0) - 1  # of each kept node among the kept
    columns = NodeColumns.of(graph)
    # By target, then source: one order for a graph however its rows were computed.
    order = torch.argsort(edges.target * nodes.count + edges.source)
    edges = edges[order]
    replacement, completeness = scores(*with_removed_as_errors(graph.edges, nodes, keep, weights))
    return PrunedGraph(
        node=kept.cpu(),
        kind=columns.kind[kept].cpu(),
        layer=columns.layer[kept].cpu(),
        position=columns.position[kept].cpu(),
        feature=columns.feature[kept].cpu(),
        activation=columns.activation[kept].cpu(),
        total_input=_total_input(graph, nodes)[kept].cpu(),
        influence=node_influence[kept].cpu(),
        cumulative_influence=cumulative_share(node_influence)[kept].cpu(),
        target=index[edges.target].cpu(),
        source=index[edges.source].cpu(),
        weight=edges.weight.cpu(),
        edge_influence=edges.score.cpu(),
        replacement_score=replacement,
        completeness_score=completeness,
    )


def _total_input(graph: AttributionGraph, nodes: NodeIndex) -> Float[Tensor, " N"]:
    """Return the sum of each node's absolute inputs, from sources that are nodes or not."""
    everything = torch.ones(graph.edges.sources.count, dtype=torch.bool, device=graph.edges.device)
    sums = graph.edges.row_sums(everything)
    nothing = sums.new_zeros(nodes.first_target - nodes.first_error)
    return torch.cat((sums[graph.expanded.to(sums.device)], nothing, sums[-len(graph.targets) :]))


def cumulative_share(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return, for each value, the share of the sum that it and all larger ones hold."""
    ordered, indices = values.sort(descending=True, stable=True)
    cumulative = ordered.double().cumsum(0) / ordered.double().sum().clamp(min=1e-30)
    return torch.empty_like(values).index_copy_(0, indices, cumulative.to(values.dtype))


def with_removed_as_errors(
    edges: EdgeBlocks, nodes: NodeIndex, keep: Bool[Tensor, " N"], weights: Float[Tensor, " K"]
) -> tuple[EdgeBlocks, Float[Tensor, " K"], Bool[Tensor, " sources"]]:
    """Add the edges of removed features to those of the error at their layer and position."""
    keep_source, keep_row = nodes.to_sources(keep), nodes.to_rows(keep)
    removed = nodes.is_node & ~keep_source
    removed[edges.sources.errors] = False
    cell = torch.repeat_interleave(edges.sources.cell_starts.diff())
    blocks = []
    for block in edges.blocks:
        rows = keep_row[block.rows].nonzero()[:, 0]
        merged = block.weights[:, rows]
        sources = removed[block.sources].nonzero()[:, 0]
        if len(sources):
            error = edges.sources.errors[cell[block.sources[sources]]]
            # With signs: both write at the same layer and position, so their joint effect is the sum.
            merged = merged.index_add(0, torch.searchsorted(block.sources, error), merged[sources])
        blocks.append(replace(block, rows=block.rows[rows], weights=merged))
    # Removed features are as unexplained as reconstruction errors; the scores must count them.
    kept_or_error = keep_source.clone()
    kept_or_error[edges.sources.errors] = True
    return replace(edges, blocks=tuple(blocks)), weights, kept_or_error
