"""Scores of a part of a graph, against the dense definition and the graph's own scores."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.graph.attribution_graph import AttributionGraph, NodeKind
from pipeline.graph.node_columns import NodeColumns
from pipeline.graph.pruning import prune
from pipeline.graph.subgraph import subgraph_scores
from tests.support.random_graph import random_graph

graphs = st.builds(
    random_graph,
    n_layers=st.integers(1, 4),
    n_positions=st.integers(2, 5),
    n_features=st.integers(1, 30),
    n_targets=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    expanded_share=st.just(1.0),
)


def by_definition(graph: AttributionGraph, kept: set) -> tuple[float, float]:
    """Add what left-out features send to the error in their place, and follow every path."""
    matrix, columns = graph.dense().double(), NodeColumns.of(graph)
    kind, place = (
        columns.kind.cpu(),
        list(zip(columns.layer.tolist(), columns.position.tolist(), strict=True)),
    )
    errors = {place[i]: i for i in torch.where(kind == NodeKind.ERROR)[0].tolist()}
    for index, name in enumerate(map(tuple, graph.active_features.tolist())):
        if name not in kept:
            matrix[:, errors[name[:2]]] += matrix[:, index]
            matrix[:, index] = matrix[index] = 0
    shares = matrix.abs() / matrix.abs().sum(1, keepdim=True).clamp(min=1e-10)
    weights = torch.zeros(len(matrix), dtype=torch.float64)
    weights[-len(graph.targets) :] = graph.target_probabilities.double()
    flow, step = torch.zeros_like(weights), weights
    while step.any():
        step = step @ shares
        flow += step
    tokens, lost = flow[kind == NodeKind.TOKEN].sum(), flow[kind == NodeKind.ERROR].sum()
    carried = flow + weights
    explained = 1 - shares[:, kind == NodeKind.ERROR].sum(1)
    completeness = (explained * carried).sum() / carried.sum()
    return (tokens / (tokens + lost).clamp(min=1e-10)).item(), completeness.item()


@settings(deadline=None, max_examples=40)
@given(graphs, st.randoms(use_true_random=False))
def test_any_part_has_the_scores_of_the_definition(graph: AttributionGraph, random) -> None:
    names = [tuple(name) for name in graph.active_features.tolist()]
    kept = {name for name in names if random.random() < 0.5}
    assert subgraph_scores(graph, kept) == pytest.approx(by_definition(graph, kept), abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(graphs)
def test_everything_is_the_graph_and_what_pruning_keeps_the_pruned_graph(graph: AttributionGraph) -> None:
    everything = [tuple(name) for name in graph.active_features.tolist()]
    assert subgraph_scores(graph, everything) == pytest.approx(graph.scores(), abs=1e-6)
    pruned = prune(graph)
    is_feature = pruned.kind == NodeKind.FEATURE
    columns = (pruned.layer[is_feature], pruned.position[is_feature], pruned.feature[is_feature])
    kept = list(zip(*(column.tolist() for column in columns), strict=True))
    own = (pruned.replacement_score, pruned.completeness_score)
    assert subgraph_scores(graph, kept) == pytest.approx(own, abs=1e-6)


def test_what_is_no_node_is_refused_by_name() -> None:
    graph = random_graph(3, 4, 20, 1, seed=0, expanded_share=0.5)
    whole = set(map(tuple, graph.active_features.tolist()))
    layer, position, feature = min(whole - set(map(tuple, graph.active_features[graph.expanded].tolist())))
    with pytest.raises(ConfigurationError, match=f"1 features are no nodes .* {layer}/{feature}@{position}"):
        subgraph_scores(graph, {(layer, position, feature)})
    with pytest.raises(ConfigurationError, match="7/7@7"):
        subgraph_scores(graph, {(7, 7, 7)})
