"""One model over several devices: every tensor lies where it is needed, and the numbers do not change."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

from pipeline import FeatureTarget, attribute, prune
from pipeline.attribution import AttributionOptions, exploration
from tests.support.pretend_devices import counted_waits, on_devices, pretend_devices
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name

DEEPER = [*RECIPES, Recipe(layers=3, cross_layer=True, skip=True)]
EXTREMES = [RECIPES[0], RECIPES[1], RECIPES[8], RECIPES[-1], DEEPER[-1]]
"""Of each kind of dictionary and of block one."""

CAP = AttributionOptions(max_feature_nodes=7, batch_size=2, update_interval=1)
TOP_EDGES = AttributionOptions(edges_per_row=3)
CASES = [
    *((recipe, AttributionOptions()) for recipe in DEEPER),
    *((recipe, options) for recipe in EXTREMES for options in (CAP, TOP_EDGES)),
]


@pytest.mark.parametrize(
    ("recipe", "options"),
    CASES,
    ids=lambda part: recipe_name(part) if isinstance(part, Recipe) else str(part),
)
def test_graphs_are_the_same_over_two_devices(recipe: Recipe, options: AttributionOptions) -> None:
    model = random_model(recipe)
    targets = [5, FeatureTarget(1, 2, 3), FeatureTarget(0, 1, 3)]
    expected = attribute(model, TOKENS, targets, options)
    with pretend_devices(2) as devices:
        spread = on_devices(model, devices)
        assert spread.devices == devices
        graph = attribute(spread, TOKENS, targets, options)
        assert graph.edges.device == devices[0]
        assert torch.equal(graph.dense(), expected.dense())
        assert graph.scores() == expected.scores()
        assert graph.unexpanded_influence() == expected.unexpanded_influence()
        pruned = prune(graph)
    assert torch.equal(pruned.weight, prune(expected).weight)


def test_the_most_likely_tokens_are_found_on_a_device() -> None:
    model = random_model(Recipe("gemma2", layers=4))
    expected = attribute(model, TOKENS)
    with pretend_devices(3) as devices:
        graph = attribute(on_devices(model, devices), TOKENS)
        assert graph.targets == expected.targets
        assert torch.equal(graph.dense(), expected.dense())


def test_a_pass_never_waits_for_the_device() -> None:
    model = random_model(Recipe(layers=3, cross_layer=True, skip=True))
    passes = []

    def counting(inputs, block):
        with counted_waits() as waits:
            edges = attribution_pass(inputs, block)
            passes.append(dict(waits))
        return edges

    attribution_pass = exploration.attribution_pass
    with pretend_devices(1) as devices, patch.object(exploration, "attribution_pass", counting):
        attribute(on_devices(model, devices), TOKENS, [5, FeatureTarget(1, 2, 3)], block_pairs=32)
    assert len(passes) > 3
    assert not any(passes)


def test_what_would_wait_is_counted() -> None:
    with pretend_devices(1) as (device,), counted_waits() as waits:
        numbers = torch.arange(4).to(device)
        assert not waits
        numbers[numbers > 1].sum().item()
        numbers.cpu()
        assert set(waits) == {"index", "_local_scalar_dense", "_to_copy"}


def test_tensors_of_two_devices_do_not_mix() -> None:
    with pretend_devices(2) as (one, other), pytest.raises(RuntimeError, match="pretend:0, pretend:1"):
        torch.ones(2).to(one) + torch.ones(2).to(other)
