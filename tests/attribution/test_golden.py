"""The engine against circuit-tracer's own graphs, tensor by tensor."""

from __future__ import annotations

import pytest
import torch

from pipeline import attribute, prune
from pipeline.graph.node_columns import NodeColumns
from tests.support.golden_case import LIMITED, TOLERANCE, WHOLE

RESULTS = [
    *((case, f"prompt{index}") for case in WHOLE for index in (0, 1)),
    *((case, f"prompt{index}_limited") for case in LIMITED for index in (0, 1)),
    ("llama_plt_relu", "prompt1_targets_ids"),
    ("llama_plt_relu", "prompt1_targets_custom"),
]


def _graph(case, name, expected):
    targets = None
    if name.endswith("targets_ids"):
        targets = case.description["targets"]["ids"]
    if name.endswith("targets_custom"):
        targets = [("difference", float(expected["custom_prob"]), expected["custom_vec"])]
    return attribute(case.model, expected["input_tokens"], targets, case.options(name))


def _check_columns(graph, pruned):
    """What a kept node says of itself is what its place in the node order says."""
    nodes = NodeColumns.of(graph)
    for name in ("kind", "layer", "position", "feature", "activation"):
        assert torch.equal(getattr(pruned, name), getattr(nodes, name)[pruned.node]), name


@pytest.mark.parametrize(("name", "result"), RESULTS, ids=[f"{case}-{result}" for case, result in RESULTS])
def test_agrees_with_circuit_tracer(golden_case, name, result):
    case = golden_case(name)
    expected = case.result(result)
    graph = _graph(case, result, expected)

    assert torch.equal(graph.active_features, expected["active_features"])
    torch.testing.assert_close(graph.activations, expected["activation_values"], atol=TOLERANCE, rtol=0)
    assert torch.equal(graph.expanded, expected["selected_features"])
    assert [target.token_id for target in graph.targets] == expected["logit_token_ids"].tolist()
    torch.testing.assert_close(
        graph.target_probabilities, expected["logit_probabilities"], atol=TOLERANCE, rtol=0
    )

    adjacency = expected["adjacency_matrix"]
    torch.testing.assert_close(
        graph.dense(), adjacency, atol=TOLERANCE * float(adjacency.abs().max()), rtol=0
    )
    assert graph.scores() == pytest.approx(expected["graph_scores"].tolist(), abs=TOLERANCE)

    pruned = prune(graph, node_threshold=0.8, edge_threshold=0.98)
    kept = pruned.node
    assert torch.equal(kept, expected["node_mask"].nonzero()[:, 0])
    _check_columns(graph, pruned)
    edges = torch.zeros_like(expected["edge_mask"])
    edges[kept[pruned.target], kept[pruned.source]] = True
    assert torch.equal(edges, expected["edge_mask"])
    torch.testing.assert_close(
        pruned.cumulative_influence, expected["cumulative_scores"][kept], atol=TOLERANCE, rtol=0
    )
    torch.testing.assert_close(
        pruned.weight,
        adjacency[kept[pruned.target], kept[pruned.source]],
        atol=TOLERANCE * float(adjacency.abs().max()),
        rtol=0,
    )


def test_strings_name_the_same_targets_as_ids(golden_case):
    case = golden_case("llama_plt_relu")
    tokens = case.result("prompt1")["input_tokens"]
    ids = case.model.tokenizer.encode("a b", add_special_tokens=False)
    strings = [case.model.tokenizer.decode([token]) for token in ids]
    assert torch.equal(
        attribute(case.model, tokens, strings).dense(), attribute(case.model, tokens, ids).dense()
    )


@pytest.mark.parametrize("block_pairs", [1, 7, 100])
def test_small_blocks_give_the_same_graph(golden_case, block_pairs):
    case = golden_case("gemma2_clt_jumprelu")
    tokens = case.result("prompt0")["input_tokens"]
    whole = attribute(case.model, tokens).dense()
    torch.testing.assert_close(
        attribute(case.model, tokens, block_pairs=block_pairs).dense(), whole, atol=1e-5, rtol=1e-5
    )


def test_same_input_gives_the_same_bits(golden_case):
    case = golden_case("llama_plt_relu")
    tokens = case.result("prompt1")["input_tokens"]
    first, second = attribute(case.model, tokens), attribute(case.model, tokens)
    assert torch.equal(first.dense(), second.dense())
    for name in ("influence", "cumulative_influence", "weight", "edge_influence"):
        assert torch.equal(getattr(prune(first), name), getattr(prune(second), name))
