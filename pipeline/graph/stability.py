"""How much of a pruned graph hangs on the thresholds: the same graph pruned in many ways.

The thresholds of pruning are a convention, and most edges come and go with them. Each node and edge gets the
share of an ensemble of prunings that keeps it (after CIRCUS, arXiv 2603.00523): every node threshold of
`NODE_THRESHOLDS` with every edge threshold of `EDGE_THRESHOLDS`. The graph is traced once. Every pruning
keeps a part of the nodes that the loosest keeps, so the edges between those are gathered once, and all
prunings are passes over that list: on the built-in model they take one to three times what one pruning takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.graph.attribution_graph import AttributionGraph, PrunedGraph
from pipeline.graph.influence import SMALLEST_ROW, influence
from pipeline.graph.node_index import NodeIndex
from pipeline.graph.pruning import EdgeList, drop_dangling, edges_between, kept_nodes, threshold

NODE_THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9)

EDGE_THRESHOLDS = (0.95, 0.97, 0.99)

SETTINGS = tuple(product(NODE_THRESHOLDS, EDGE_THRESHOLDS))
"""The ensemble: node and edge threshold of each pruning."""


@dataclass(frozen=True)
class Stability:
    """Shares of the ensemble that keep what a pruned graph holds, 0 to 1."""

    nodes: Float[Tensor, " nodes"]
    """Of each node; tokens and targets are kept by all."""

    edges: Float[Tensor, " edges"]
    """Of each edge."""


def stability(graph: AttributionGraph, pruned: PrunedGraph) -> Stability:
    """Prune a graph by every setting of the ensemble, and count what each node and edge survives."""
    nodes = graph.node_index()
    weights = graph.target_probabilities.to(graph.edges.device)
    whole = influence(graph.edges, weights, nodes.is_node)
    node_influence = nodes.from_sources(whole.sources)
    everything = edges_between(graph, nodes, kept_nodes(node_influence, max(NODE_THRESHOLDS), nodes))
    survived_nodes = torch.zeros(nodes.count, device=graph.edges.device)
    survived_edges = torch.zeros(len(everything.target), device=graph.edges.device)
    reads_at = _levels(graph, nodes)
    for node_threshold in NODE_THRESHOLDS:
        keep = kept_nodes(node_influence, node_threshold, nodes)
        index = (keep[everything.target] & keep[everything.source]).nonzero()[:, 0]
        edges = _scored(everything[index], weights, reads_at, nodes)
        for edge_threshold in EDGE_THRESHOLDS:
            strong = (edges.score >= threshold(edges.score, edge_threshold)).nonzero()[:, 0]
            still, _ = drop_dangling(keep, edges[strong], nodes)
            survived_nodes += still
            survived = strong[still[edges.target[strong]] & still[edges.source[strong]]]
            survived_edges[index[survived]] += 1
        del edges, index  # as large as the graph itself where its edges are alike
    number = everything.target * nodes.count + everything.source
    wanted = (pruned.node[pruned.target] * nodes.count + pruned.node[pruned.source]).to(number.device)
    return Stability(
        nodes=(survived_nodes[pruned.node.to(number.device)] / len(SETTINGS)).cpu(),
        edges=(_looked_up(number, survived_edges, wanted) / len(SETTINGS)).cpu(),
    )


def _levels(graph: AttributionGraph, nodes: NodeIndex) -> Int[Tensor, " N"]:
    """Return the layer that each node reads at; targets above all, since nothing reads from them."""
    levels = torch.full((nodes.count,), graph.n_layers, device=graph.edges.device)
    expanded = graph.expanded.to(levels.device)
    levels[: nodes.first_error] = graph.edges.sources.active_features[expanded, 0]
    return levels


def _scored(
    edges: EdgeList, weights: Float[Tensor, " K"], reads_at: Int[Tensor, " N"], nodes: NodeIndex
) -> EdgeList:
    """Return the edges with the influence that flows over each where there are no others."""
    size = edges.weight.abs().to(edges.score)
    sums = size.new_zeros(nodes.count).index_add_(0, edges.target, size).clamp_(min=SMALLEST_ROW)
    share = size / sums[edges.target]
    carried = size.new_zeros(nodes.count)
    carried[nodes.first_target :] = weights.to(carried)
    score = torch.zeros_like(size)
    level = reads_at[edges.target]
    for layer in level.unique().flip(0).tolist():
        here = (level == layer).nonzero()[:, 0]
        # Complete by now: what a node carries comes from readers at higher layers only.
        score[here] = share[here] * carried[edges.target[here]]
        carried.index_add_(0, edges.source[here], score[here])
    return EdgeList(edges.target, edges.source, edges.weight, score)


def _looked_up(
    number: Int[Tensor, " E"], values: Float[Tensor, " E"], wanted: Int[Tensor, " edges"]
) -> Float[Tensor, " edges"]:
    """Return the value of each wanted number; 0 for those that are not there."""
    if not len(number):
        return values.new_zeros(len(wanted))
    ordered, order = number.sort()
    index = torch.searchsorted(ordered, wanted).clamp(max=len(ordered) - 1)
    return torch.where(ordered[index] == wanted, values[order[index]], 0.0)
