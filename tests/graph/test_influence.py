"""Influence, scores and pruning against the dense definitions, on random graphs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.errors import ConfigurationError
from pipeline.graph.attribution_graph import NodeKind
from pipeline.graph.influence import influence
from pipeline.graph.node_columns import NodeColumns
from pipeline.graph.pruning import prune
from tests.support.random_graph import random_graph

graphs = st.builds(
    random_graph,
    n_layers=st.integers(1, 4),
    n_positions=st.integers(2, 5),
    n_features=st.integers(1, 40),
    n_targets=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    expanded_share=st.sampled_from([1.0, 0.5]),
)


def _series(matrix: Tensor, weights: Tensor) -> Tensor:
    """w M + w M^2 + ..., summed until nothing is left."""
    normalised = matrix.abs() / matrix.abs().sum(1, keepdim=True).clamp(min=1e-10)
    total, current = torch.zeros(len(matrix), dtype=torch.float64), weights
    while current.any():
        current = current @ normalised
        total += current
    return total


def _dense(graph) -> tuple[Tensor, Tensor]:
    matrix = graph.dense().double()
    weights = torch.zeros(len(matrix), dtype=torch.float64)
    weights[-len(graph.targets) :] = graph.target_probabilities.double()
    return matrix, weights


def _scores(matrix: Tensor, weights: Tensor, kind: Tensor) -> tuple[float, float]:
    """(replacement, completeness) by their definitions."""
    flow = _series(matrix, weights)
    tokens, errors = flow[kind == NodeKind.TOKEN].sum(), flow[kind == NodeKind.ERROR].sum()
    shares = matrix.abs() / matrix.abs().sum(1, keepdim=True).clamp(min=1e-10)
    carried = flow + weights
    explained = 1 - shares[:, kind == NodeKind.ERROR].sum(1)
    completeness = (explained * carried).sum() / carried.sum()
    return (tokens / (tokens + errors).clamp(min=1e-10)).item(), completeness.item()


@settings(deadline=None)
@given(graphs)
def test_one_pass_equals_the_power_series(graph):
    nodes = graph.node_index()
    flow = influence(graph.edges, graph.target_probabilities, nodes.is_node)
    torch.testing.assert_close(
        nodes.from_sources(flow.sources).double(), _series(*_dense(graph)), atol=1e-5, rtol=1e-4
    )


@settings(deadline=None)
@given(graphs)
def test_scores_equal_their_definition(graph):
    assert graph.scores() == pytest.approx(_scores(*_dense(graph), NodeColumns.of(graph).kind), abs=1e-5)


@settings(deadline=None)
@given(graphs, st.floats(0.1, 0.95), st.floats(0.1, 0.99))
def test_pruned_graphs_keep_their_promises(graph, node_threshold, edge_threshold):
    pruned = prune(graph, node_threshold, edge_threshold)
    matrix, _ = _dense(graph)
    is_opening = (pruned.kind == NodeKind.TOKEN) | (pruned.kind == NodeKind.LOGIT)
    assert int(is_opening.sum()) == graph.n_positions + len(graph.targets)
    has_outgoing = torch.zeros(len(pruned.kind), dtype=torch.bool).index_fill_(0, pruned.source, True)
    has_incoming = torch.zeros(len(pruned.kind), dtype=torch.bool).index_fill_(0, pruned.target, True)
    assert has_outgoing[~is_opening].all()
    assert has_incoming[pruned.kind == NodeKind.FEATURE].all()
    kept = pruned.node
    torch.testing.assert_close(matrix[kept[pruned.target], kept[pruned.source]].float(), pruned.weight)
    assert (pruned.edge_influence > 0).all()
    assert 0 <= pruned.replacement_score <= 1 + 1e-6
    assert 0 <= pruned.completeness_score <= 1 + 1e-6


@settings(deadline=None)
@given(graphs, st.floats(0.2, 0.9))
def test_pruned_scores_count_what_was_removed_as_error(graph, node_threshold):
    """Against the dense definition: removed features' columns are added to the error of their cell."""
    pruned = prune(graph, node_threshold)
    matrix, weights = _dense(graph)
    nodes = NodeColumns.of(graph)
    kept = torch.zeros(len(matrix), dtype=torch.bool).index_fill_(0, pruned.node, True)
    is_error = nodes.kind == NodeKind.ERROR
    for removed in ((nodes.kind == NodeKind.FEATURE) & ~kept).nonzero()[:, 0]:
        cell = is_error & (nodes.layer == nodes.layer[removed]) & (nodes.position == nodes.position[removed])
        matrix[:, cell] += matrix[:, removed, None]
    stays = kept | is_error
    matrix[~stays] = 0
    matrix[:, ~stays] = 0
    expected = _scores(matrix, weights, nodes.kind)
    assert (pruned.replacement_score, pruned.completeness_score) == pytest.approx(expected, abs=1e-4)


def test_residual_is_what_unexpanded_features_hold():
    assert random_graph(3, 4, 30, 2, seed=1).unexpanded_influence() == 0
    residuals = [
        random_graph(3, 4, 30, 2, seed=1, expanded_share=share).unexpanded_influence()
        for share in (0.9, 0.5, 0.1)
    ]
    assert all(0 < residual < 1 for residual in residuals)


@pytest.mark.parametrize(
    ("node_threshold", "edge_threshold", "name"), [(1.2, 0.9, "node"), (0.8, -0.1, "edge")]
)
def test_thresholds_outside_their_range_are_named(node_threshold, edge_threshold, name):
    with pytest.raises(ConfigurationError, match=f"{name}_threshold .* from 0 to 1"):
        prune(random_graph(2, 3, 10, 1, seed=0), node_threshold, edge_threshold)
