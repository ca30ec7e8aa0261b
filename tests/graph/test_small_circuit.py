"""The small circuit against a greedy search by the scores themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.graph.attribution_graph import AttributionGraph, NodeKind
from pipeline.graph.pruning import prune
from pipeline.graph.small_circuit import small_circuit
from pipeline.graph.subgraph import subgraph_scores
from tests.support.random_graph import random_graph

graphs = st.builds(
    random_graph,
    n_layers=st.integers(1, 4),
    n_positions=st.integers(2, 5),
    n_features=st.integers(2, 25),
    n_targets=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    expanded_share=st.just(1.0),
)


def _names(graph: AttributionGraph, nodes: torch.Tensor) -> list[tuple[int, int, int]]:
    return list(map(tuple, graph.active_features[graph.expanded][nodes].tolist()))


@settings(max_examples=40, deadline=None)
@given(graph=graphs)
def test_it_says_the_completeness_of_what_it_has_taken(graph: AttributionGraph) -> None:
    found = small_circuit(graph, 6, least_gain=0.0)
    names = _names(graph, found.nodes)
    for count, reached in enumerate(found.completeness):
        assert reached == pytest.approx(subgraph_scores(graph, names[:count])[1], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(graph=graphs)
def test_the_first_is_the_best_of_all(graph: AttributionGraph) -> None:
    every = list(map(tuple, graph.active_features[graph.expanded].tolist()))
    reached = [subgraph_scores(graph, [name])[1] for name in every]
    found = small_circuit(graph, 1)
    nothing, whole = subgraph_scores(graph, [])[1], graph.scores()[1]
    if max(reached) - nothing > 0.02 * (whole - nothing) + 1e-4:
        assert found.completeness[1] == pytest.approx(max(reached), abs=1e-5)
    elif max(reached) - nothing < 0.02 * (whole - nothing) - 1e-4:
        assert len(found.nodes) == 0


def test_a_larger_budget_only_adds() -> None:
    graph = random_graph(n_layers=3, n_positions=4, n_features=40, n_targets=2, seed=3, expanded_share=1.0)
    few, many = (small_circuit(graph, budget, least_gain=0.0) for budget in (3, 9))
    assert few.nodes.tolist() == many.nodes.tolist()[:3]
    assert len(many.nodes) == 9
    assert list(many.completeness) == sorted(many.completeness)


def test_pruning_keeps_it_with_tokens_and_targets() -> None:
    graph = random_graph(n_layers=3, n_positions=4, n_features=40, n_targets=2, seed=3, expanded_share=1.0)
    chosen = small_circuit(graph, 5)
    pruned = prune(graph, small=5)
    kept = pruned.node[pruned.kind == NodeKind.FEATURE].tolist()
    assert 0 < len(kept) <= 5
    assert set(kept) <= set(chosen.nodes.tolist())
    assert int((pruned.kind == NodeKind.TOKEN).sum()) == 4
    assert int((pruned.kind == NodeKind.LOGIT).sum()) == 2
    assert not (pruned.kind == NodeKind.ERROR).any()
    names = _names(graph, torch.tensor(kept))
    assert pruned.completeness_score == pytest.approx(subgraph_scores(graph, names)[1], abs=1e-5)


def test_a_budget_of_nothing_is_refused() -> None:
    graph = random_graph(n_layers=1, n_positions=2, n_features=4, n_targets=1, seed=0, expanded_share=1.0)
    with pytest.raises(ConfigurationError, match="is 0; it must be at least 1 feature"):
        small_circuit(graph, 0)
