"""Differences between two pruned graphs of one prompt."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.graph import PrunedGraph

Node = tuple[int, int, int, int]
"""(kind, layer, position, feature)."""


@dataclass(frozen=True)
class Agreement:
    """Overlap of two pruned graphs, 1 when they are the same."""

    nodes: float
    """Jaccard index of the kept nodes."""

    edges: float
    """Jaccard index of the kept edges."""

    influence_distance: float
    """Total variation between the kept nodes' influence, each normalised to 1: 0 when the same."""


def agreement(one: PrunedGraph, other: PrunedGraph) -> Agreement:
    """Compare two pruned graphs by what their nodes are."""
    first, second = _nodes(one), _nodes(other)
    return Agreement(
        nodes=_jaccard(set(first), set(second)),
        edges=_jaccard(_edges(one, first), _edges(other, second)),
        influence_distance=_total_variation(_influence(one, first), _influence(other, second)),
    )


def _nodes(graph: PrunedGraph) -> list[Node]:
    columns = (graph.kind, graph.layer, graph.position, graph.feature)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _edges(graph: PrunedGraph, nodes: list[Node]) -> set[tuple[Node, Node]]:
    ends = zip(graph.target.tolist(), graph.source.tolist(), strict=True)
    return {(nodes[target], nodes[source]) for target, source in ends}


def _influence(graph: PrunedGraph, nodes: list[Node]) -> dict[Node, float]:
    total = float(graph.influence.sum()) or 1.0
    return {node: value / total for node, value in zip(nodes, graph.influence.tolist(), strict=True)}


def _jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _total_variation(one: dict[Node, float], other: dict[Node, float]) -> float:
    return sum(abs(one.get(node, 0) - other.get(node, 0)) for node in one.keys() | other.keys()) / 2
