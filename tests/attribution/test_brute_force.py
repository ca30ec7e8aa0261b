"""Edges against a Jacobian that autograd takes through a pinned copy of the model, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.jacobian import constant_writes, jacobian, traced
from tests.support.random_models import VOCABULARY, Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_edges_equal_thejacobian(recipe):
    model = random_model(recipe)
    graph, pinned = traced(model, TOKENS)
    assert len(graph.active_features) > 10
    expected = jacobian(model, graph, pinned)
    scale = expected.abs().max()
    torch.testing.assert_close(graph.dense().double() / scale, expected / scale, atol=2e-6, rtol=0)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    key_value_heads = draw(st.sampled_from([1, 2, 4]))
    return Recipe(
        model_type=draw(st.sampled_from(["llama", "qwen3", "gemma2", "mistral"])),
        layers=draw(st.integers(1, 4)),
        heads=key_value_heads * draw(st.sampled_from([1, 2])),
        key_value_heads=key_value_heads,
        activation=draw(st.sampled_from(["relu", "jumprelu", "topk", "gated"])),
        cross_layer=draw(st.booleans()),
        skip=draw(st.booleans()),
        input_hook=draw(st.sampled_from(["mlp.hook_in", "hook_resid_mid"])),
        seed=draw(st.integers(0, 2**31)),
    )


@settings(max_examples=25, deadline=None)
@given(recipe=recipes(), tokens=st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=9))
def test_incoming_edges_and_biases_sum_to_the_preactivation(recipe, tokens):
    """A row's edges are everything that reaches it, but for constants: with all sources at zero, the
    pinned model gives just what biases contribute, and edges must make up the rest.
    """
    tokens = [1, *tokens]
    model = random_model(recipe)
    graph, pinned = traced(model, tokens)
    actual = [read.detach().clone() for read in pinned.first_reads]
    pinned(torch.zeros_like(pinned.token_vectors), constant_writes(model, pinned))
    sums = graph.dense().double().sum(1)
    for row, (layer, position, feature) in enumerate(graph.active_features.tolist()):
        encoder = model.transcoders.layers[layer].encoder[feature]
        expected = (actual[layer][position] - pinned.reads[layer][position]) @ encoder
        magnitude = graph.dense()[row].abs().sum().double() + 1
        assert abs(sums[row] - expected) / magnitude < 1e-5
