"""Stability is what pruning by every setting of the ensemble gives, found in one pass over the loosest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.graph import AttributionGraph, EdgeBlock, EdgeBlocks, PrunedGraph, SourceIndex, prune, stability
from pipeline.graph.stability import SETTINGS
from tests.support.random_graph import random_graph


def one_by_one(graph: AttributionGraph, pruned: PrunedGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """Count what each setting keeps, the slow and obvious way."""

    def numbers(of: PrunedGraph) -> torch.Tensor:
        return of.node[of.target] * graph.n_nodes + of.node[of.source]

    each = [prune(graph, *thresholds) for thresholds in SETTINGS]
    nodes = sum(torch.isin(pruned.node, one.node).float() for one in each)
    edges = sum(torch.isin(numbers(pruned), numbers(one)).float() for one in each)
    return nodes / len(SETTINGS), edges / len(SETTINGS)


@settings(deadline=None, max_examples=25)
@given(
    n_layers=st.integers(1, 4),
    n_positions=st.integers(1, 5),
    n_features=st.integers(1, 60),
    seed=st.integers(0, 1000),
    expanded_share=st.sampled_from([1.0, 0.6]),
    node_threshold=st.sampled_from([0.6, 0.8, 0.95]),
)
def test_stability_is_the_share_of_the_prunings_that_keep_it(
    n_layers, n_positions, n_features, seed, expanded_share, node_threshold
):
    graph = random_graph(n_layers, n_positions, n_features, 2, seed, expanded_share)
    pruned = prune(graph, node_threshold)
    found = stability(graph, pruned)
    nodes, edges = one_by_one(graph, pruned)
    torch.testing.assert_close(found.nodes, nodes)
    torch.testing.assert_close(found.edges, edges)


def fan(sizes: list[float]) -> AttributionGraph:
    """A graph of one token, which each feature of one layer passes on to one target with these weights."""
    n = len(sizes)
    graph = random_graph(1, 1, 1, 1, seed=0)
    active = torch.stack((torch.zeros(n), torch.zeros(n), torch.arange(n)), 1).long()
    sources = SourceIndex(active, 1, 1)
    blocks = (
        EdgeBlock(0, torch.arange(n + 1), torch.tensor([n]), torch.tensor([*sizes, 0.0])[:, None]),
        EdgeBlock(-1, torch.tensor([n + 1]), torch.arange(n), torch.ones(1, n)),
    )
    return replace(
        graph,
        active_features=active,
        activations=torch.ones(n),
        expanded=torch.arange(n),
        edges=EdgeBlocks(sources, 1, blocks),
    )


def test_what_carries_nearly_all_is_kept_by_all_prunings() -> None:
    graph = fan([100.0, *[0.01] * 20])
    found = stability(graph, prune(graph))
    assert found.nodes.tolist() == [1.0] * len(found.nodes)
    assert found.edges.tolist() == [1.0] * len(found.edges)


def test_of_many_that_carry_alike_the_thresholds_decide_though_one_pruning_keeps_them() -> None:
    graph = fan([1.0 + 0.001 * i for i in range(40)])
    pruned = prune(graph, 0.9, 0.99)
    features = stability(graph, pruned).nodes[pruned.kind == 0]
    # The strongest survive all; of those that the loosest keeps, the weakest survive the loosest alone.
    assert features.max() == 1.0
    assert features.min() <= 3 / len(SETTINGS)
    # The competitor: influence in one graph, by which the weakest are nearly the strongest.
    influence = pruned.influence[pruned.kind == 0]
    assert influence.min() > 0.9 * influence.max()


def test_what_no_setting_keeps_has_no_stability() -> None:
    graph = fan([1.0] * 10 + [1e-4])
    pruned = prune(graph, 1.0, 1.0)
    assert stability(graph, pruned).nodes[10] == pytest.approx(0.0)
