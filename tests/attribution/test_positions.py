"""Every position of a text, over shared rows, against the text cut there and traced alone."""

from __future__ import annotations

import pytest
import torch

from pipeline.attribution import AttributionOptions, Difference, SharedRows, attribute, attribute_positions
from pipeline.errors import PromptError, TargetError
from pipeline.graph import AttributionGraph, prune
from pipeline.model import ReplacementModel, TracedTokens
from tests.support.counted_passes import rows_passed
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name

NEURONS = [
    Recipe("llama", activation="neurons"),
    Recipe("gpt_neox", activation="neurons:5", key_value_heads=4),
]


def cut(model: ReplacementModel, position: int, targets=None, **options) -> AttributionGraph:
    tokens = TracedTokens(TOKENS[: position + 1])
    return attribute(model, tokens, targets, AttributionOptions(**options))


def assert_same(found: AttributionGraph, alone: AttributionGraph) -> None:
    assert found.input_tokens.tolist() == alone.input_tokens.tolist()
    assert found.active_features.tolist() == alone.active_features.tolist()
    assert found.expanded.tolist() == alone.expanded.tolist()
    assert [target.token_id for target in found.targets] == [target.token_id for target in alone.targets]
    assert found.prediction.token_id == alone.prediction.token_id
    for name in ("activations", "target_values", "target_probabilities"):
        torch.testing.assert_close(getattr(found, name), getattr(alone, name), atol=1e-6, rtol=1e-6)
    for name in ("output_norms", "error_norms", "cosines"):
        one, other = (getattr(graph.reconstruction, name) for graph in (found, alone))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    scale = alone.dense().abs().max()
    torch.testing.assert_close(found.dense() / scale, alone.dense() / scale, atol=1e-6, rtol=0)
    assert found.constants_share() == pytest.approx(alone.constants_share(), abs=1e-6)
    one, other = prune(found), prune(alone)
    assert one.node.tolist() == other.node.tolist()
    assert one.target.tolist() == other.target.tolist()
    torch.testing.assert_close(one.influence, other.influence, atol=1e-6, rtol=0)


@pytest.mark.parametrize("recipe", [*RECIPES, *NEURONS], ids=recipe_name)
def test_a_position_is_the_text_cut_there(recipe: Recipe) -> None:
    model = random_model(recipe)
    graphs = list(attribute_positions(model, TracedTokens(TOKENS), range(1, len(TOKENS))))
    assert len(graphs) == 5
    for position, graph in enumerate(graphs, start=1):
        assert_same(graph, cut(model, position))


@pytest.mark.parametrize(
    "options",
    [
        {"max_feature_nodes": 7, "batch_size": 2, "update_interval": 1},
        {"max_feature_nodes": 30},
        {"tolerance": 0.3},
        {"edges_per_row": 4},
        {"edges_per_row": 4, "max_feature_nodes": 9, "batch_size": 3},
        {"max_targets": 2},
    ],
    ids=str,
)
def test_every_rule_holds_at_every_position(options: dict[str, float]) -> None:
    model = random_model(Recipe(layers=3))
    text = SharedRows(model, TracedTokens(TOKENS), AttributionOptions(**options), block_pairs=24)
    for position in (5, 2, 4, 1):  # in any order
        graph, alone = text.attribute(position), cut(model, position, **options)
        assert_same(graph, alone)
        assert graph.edges.dropped_share() == pytest.approx(alone.edges.dropped_share(), abs=1e-6)


def test_named_targets_are_explained_at_every_position() -> None:
    model = random_model(Recipe())
    named = [3, Difference(5, 6), ("up", 1.0, torch.ones(model.d_model, dtype=torch.float64))]
    for position, graph in enumerate(
        attribute_positions(model, TracedTokens(TOKENS), [1, 2], named), start=1
    ):
        assert_same(graph, cut(model, position, named))


def test_features_of_a_text_get_their_rows_once() -> None:
    model = random_model(Recipe(layers=3))
    with rows_passed() as passed:
        graphs = list(attribute_positions(model, TracedTokens(TOKENS), range(-4, 0)))
    targets = sum(len(graph.targets) for graph in graphs)
    assert sum(passed) == len(graphs[-1].active_features) + targets


def test_what_is_not_there_is_refused() -> None:
    text = SharedRows(random_model(Recipe()), TracedTokens(TOKENS))
    for position in (0, 6, -6):
        with pytest.raises(PromptError, match=f"position is {position}, but the prompt has positions 1 to 5"):
            text.attribute(position)
    with pytest.raises(TargetError, match="40"):
        text.attribute(2, [40])
