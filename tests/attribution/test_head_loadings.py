"""Head loadings: their sums, and each of them against the model's own code."""

from __future__ import annotations

import pytest
import torch

from pipeline import FeatureTarget, attribute, prune
from pipeline.attribution.edge_paths import head_loadings
from pipeline.graph import EdgePath, NodeKind
from tests.support.head_paths import loadings_of_heads
from tests.support.pretend_devices import on_devices, pretend_devices
from tests.support.random_models import random_model
from tests.support.recipes import GEMMA_4, RECIPES, TOKENS, recipe_name

TARGETS = [5, FeatureTarget(1, 2, 3), FeatureTarget(0, 4, 3)]


def _sums(loadings, n_edges: int) -> torch.Tensor:
    return torch.zeros(n_edges, dtype=torch.float64).index_add(0, loadings.edge, loadings.loading.double())


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_loadings_sum_to_the_edges(recipe):
    model = random_model(recipe)
    graph = attribute(model, TOKENS, TARGETS)
    pruned = prune(graph, 0.95, 1.0)
    found = head_loadings(model, graph, pruned, len(pruned.weight), 0.05, TARGETS)
    scale = pruned.weight.abs().max()
    torch.testing.assert_close(
        _sums(found, len(pruned.weight)) / scale, pruned.weight.double() / scale, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_each_loading_is_what_autograd_says(recipe):
    model = random_model(recipe)
    graph = attribute(model, TOKENS)
    pruned = prune(graph, 0.95, 1.0)
    found = head_loadings(model, graph, pruned, len(pruned.weight), least_share=0.0)
    across = pruned.position[pruned.source] != pruned.position[pruned.target]
    known = (pruned.kind == NodeKind.FEATURE) | (pruned.kind == NodeKind.TOKEN)
    possible = (across & known[pruned.source]).nonzero()[:, 0]
    strongest = possible[pruned.weight[possible].abs().argsort(descending=True)]
    by_kind = {
        (int(pruned.kind[pruned.source[e]]), int(pruned.kind[pruned.target[e]])): e for e in strongest.flip(0)
    }
    assert len(by_kind) >= 3
    for edge in by_kind.values():
        expected = loadings_of_heads(model, graph, pruned, int(edge))
        mine = (found.edge == edge) & (found.path == EdgePath.HEAD)
        for layer, loadings in enumerate(expected):
            here = mine & (found.layer == layer)
            dense = torch.zeros_like(loadings)
            dense[found.head[here], found.key[here]] = found.loading[here].double()
            torch.testing.assert_close(
                dense, loadings, atol=1e-6 * float(pruned.weight.abs().max()), rtol=1e-5
            )


def test_small_heads_are_summed_up_and_the_strongest_edges_chosen():
    model = random_model(RECIPES[0])
    graph = attribute(model, TOKENS)
    pruned = prune(graph)
    whole = head_loadings(model, graph, pruned, 5, least_share=0.0)
    cut = head_loadings(model, graph, pruned, 5, least_share=0.2)
    edges = cut.edge.unique()
    assert set(edges.tolist()) == set(pruned.edge_influence.topk(5).indices.tolist())
    for edge in edges:
        least = 0.2 * pruned.weight[edge].abs()
        heads = (whole.edge == edge) & (whole.path == EdgePath.HEAD)
        is_large = whole.loading.abs() >= least
        kept = (cut.edge == edge) & (cut.path == EdgePath.HEAD)
        assert int(kept.sum()) == int((heads & is_large).sum())
        (other,) = cut.loading[(cut.edge == edge) & (cut.path == EdgePath.OTHER)]
        torch.testing.assert_close(other, whole.loading[heads & ~is_large].sum())
        assert cut.path[cut.edge == edge].tolist() == [
            EdgePath.RESIDUAL,
            *[EdgePath.HEAD] * int(kept.sum()),
            EdgePath.OTHER,
        ]
    assert len(cut.edge) < len(whole.edge)


def test_blocks_of_one_source_change_nothing(monkeypatch):
    model = random_model(RECIPES[2])
    graph = attribute(model, TOKENS)
    pruned = prune(graph)
    whole = head_loadings(model, graph, pruned)
    monkeypatch.setattr("pipeline.attribution.edge_paths.PAIRS_AT_ONCE", 1)
    again = head_loadings(model, graph, pruned)
    torch.testing.assert_close(again.loading, whole.loading)
    assert torch.equal(again.edge, whole.edge)
    assert torch.equal(again.head, whole.head)


@pytest.mark.parametrize("recipe", [RECIPES[3], RECIPES[14], *GEMMA_4[:2]], ids=recipe_name)
def test_loadings_are_the_same_over_two_devices(recipe):
    model = random_model(recipe)
    graph = attribute(model, TOKENS, TARGETS)
    pruned = prune(graph)
    expected = head_loadings(model, graph, pruned, targets=TARGETS)
    with pretend_devices(2) as devices:
        found = head_loadings(on_devices(model, devices), graph, pruned, targets=TARGETS)
    assert torch.equal(found.loading, expected.loading)
    assert torch.equal(found.key, expected.key)


def test_no_edges_have_no_loadings():
    model = random_model(RECIPES[0])
    graph = attribute(model, TOKENS)
    assert len(head_loadings(model, graph, prune(graph), most_edges=0).edge) == 0
