"""The benchmark command on a tiny shape: every measurement runs and counts right."""

from __future__ import annotations

import pytest
import torch

from jobs import bench
from pipeline import attribute, prune
from pipeline.attribution import AttributionOptions
from pipeline.benchmark.engine import arithmetic, attribution, long_prompts, shapes
from pipeline.benchmark.engine.agreement import agreement
from pipeline.benchmark.engine.arithmetic import row_operations
from pipeline.errors import ConfigurationError
from tests.support.random_models import Recipe, random_model

TINY = shapes.Shape("llama", 3, 16, 4, 2, 4, 64, 64, 6, "mlp.hook_in", "mlp.hook_out")


@pytest.fixture
def tiny_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `medium` be tiny."""
    monkeypatch.setitem(shapes.SHAPES, "medium", TINY)
    monkeypatch.setattr(shapes.prompt, "__defaults__", (TINY.vocabulary, 0))
    monkeypatch.setitem(arithmetic.MATRIX_SIZE, "cpu", 256)
    monkeypatch.setitem(attribution.CASES, "medium", (attribution.Case(6), attribution.Case(9, 20)))
    for name, value in (("BOTH_FIT", 12), ("BOTH_FIT_CAP", 20), ("LONG", 24), ("LONG_CAP", 20)):
        monkeypatch.setattr(long_prompts, name, value)


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ([], ["active features", "of machine", "9 tokens", "--peer PYTHON"]),
        (["--long"], ["24, 20, 8192", "agree: nodes 1.0000"]),
        (["--precision"], ["medium, bfloat16", "demo, float32"]),
    ],
)
def test_a_report_is_printed(tiny_shape, capsys, flags, shown):
    assert bench.main(["--repeats", "1", "--threads", "1", *flags]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in shown:
        assert text in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--repeats", "0"], "--repeats is 0"),
        (["--driver", "--shards", "0"], "--shards is 0"),
        (["--long", "--precision"], "different measurements"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(ConfigurationError, match=message):
        bench.main(flags)


@pytest.mark.parametrize("recipe", [Recipe("llama", layers=3), Recipe("gpt_neox", key_value_heads=4)])
def test_arithmetic_is_counted_row_by_row(recipe):
    model = random_model(recipe, torch.float32)
    graph = attribute(model, [1, 7, 12, 30])
    d, heads, pairs = model.d_model, recipe.heads * 4, recipe.key_value_heads * 4
    rows = [(layer, position, True) for layer, position, _ in graph.active_features.tolist()]
    rows += [(graph.n_layers, 3, False)] * len(graph.targets)
    expected = 0
    for layer, position, is_feature in rows:
        crossed = layer + 1 if is_feature and not model.architecture.parallel else layer
        expected += crossed * (position + 1) * 2 * d * (heads + pairs)
        below = (graph.active_features[:, 0] < layer) & (graph.active_features[:, 1] <= position)
        sources = int(below.sum()) + layer * (position + 1) + position + 1
        expected += 2 * d * sources
    assert row_operations(model, graph) == expected


def test_the_shapes_have_the_stated_number_of_active_features():
    model = shapes.build("medium")
    graph = attribute(model, shapes.prompt(12), options=AttributionOptions(max_feature_nodes=1))
    per_token_and_layer = len(graph.active_features) / (11 * shapes.SHAPES["medium"].layers)
    assert per_token_and_layer == pytest.approx(shapes.SHAPES["medium"].active, rel=0.1)


def test_a_graph_agrees_with_itself_and_less_with_a_smaller_one():
    graph = attribute(random_model(Recipe("llama", layers=3), torch.float32), [1, 7, 12, 30, 9])
    whole, small = prune(graph), prune(graph, 0.4)
    same, less = agreement(whole, whole), agreement(whole, small)
    assert (same.nodes, same.edges, same.influence_distance) == (1.0, 1.0, 0.0)
    assert less.nodes < 1
    assert less.edges < 1
    assert less.influence_distance > 0
