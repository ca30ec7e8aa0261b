"""Edges against a Jacobian that autograd takes through a pinned copy of the model, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline import ReplacementModel, attribute
from pipeline.graph.attribution_graph import AttributionGraph
from tests.support.frozen_copy import FrozenCopy
from tests.support.random_models import VOCABULARY, Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name


def _traced(model: ReplacementModel, tokens: list[int]) -> tuple[AttributionGraph, FrozenCopy]:
    graph = attribute(model, tokens)
    pinned = copy.deepcopy(model.model)
    return graph, FrozenCopy(ReplacementModel(**{**model.__dict__, "model": pinned}), tokens)


def _unembedding_rows(model: ReplacementModel, graph: AttributionGraph) -> Tensor:
    unembedding = model.unembedding
    return unembedding[[target.token_id for target in graph.targets]] - unembedding.mean(0)


def _reconstruction(model: ReplacementModel, graph: AttributionGraph, layer: int, bias: bool) -> Tensor:
    """What features (and the decoder's bias) write at a layer, without the skip path."""
    written = torch.zeros(graph.n_positions, model.d_model, dtype=torch.float64)
    for (reads_at, position, feature), activation in zip(
        graph.active_features.tolist(), graph.activations.tolist(), strict=True
    ):
        decoder = model.transcoders.layers[reads_at].decoder[feature]
        if 0 <= layer - reads_at < len(decoder):
            written[position] += activation * decoder[layer - reads_at]
    return written + model.transcoders.layers[layer].decoder_bias if bias else written


def _jacobian(model: ReplacementModel, graph: AttributionGraph, pinned: FrozenCopy) -> Tensor:
    """The adjacency matrix by autograd, rows of errors and tokens left at 0."""
    tokens = pinned.token_vectors.clone().requires_grad_()
    writes = [written.clone().requires_grad_() for written in pinned.written]
    final = pinned(tokens, writes)
    values = [
        pinned.reads[layer][position] @ model.transcoders.layers[layer].encoder[feature]
        for layer, position, feature in graph.active_features.tolist()
    ]
    rows = [(index, value) for index, value in enumerate(values)]
    first_target = graph.n_nodes - len(graph.targets)
    rows += [(first_target + k, vector @ final) for k, vector in enumerate(_unembedding_rows(model, graph))]
    matrix = torch.zeros(graph.n_nodes, graph.n_nodes, dtype=torch.float64)
    for row, value in rows:
        gradients = torch.autograd.grad(value, [tokens, *writes], retain_graph=True, materialize_grads=True)
        matrix[row, :first_target] = _sources_dot(model, graph, pinned, gradients[0], gradients[1:])
    return matrix


def _sources_dot(
    model: ReplacementModel,
    graph: AttributionGraph,
    pinned: FrozenCopy,
    token_gradient: Tensor,
    write_gradients: tuple[Tensor, ...],
) -> Tensor:
    features = []
    for (layer, position, feature), activation in zip(
        graph.active_features.tolist(), graph.activations.tolist(), strict=True
    ):
        decoder = model.transcoders.layers[layer].decoder[feature]
        reached = torch.stack([write_gradients[layer + write][position] for write in range(len(decoder))])
        features.append(activation * (decoder * reached).sum())
    errors = [
        (_error(model, graph, pinned, layer) * write_gradients[layer]).sum(-1)
        for layer in range(graph.n_layers)
    ]
    return torch.cat((torch.stack(features), *errors, (pinned.token_vectors * token_gradient).sum(-1)))


def _error(model: ReplacementModel, graph: AttributionGraph, pinned: FrozenCopy, layer: int) -> Tensor:
    skip = model.transcoders.layers[layer].skip
    live = 0 if skip is None else pinned.first_reads[layer] @ skip
    error = pinned.written[layer] - live - _reconstruction(model, graph, layer, bias=True)
    error[: model.zero_positions] = 0
    return error


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_edges_equal_the_jacobian(recipe):
    model = random_model(recipe)
    graph, pinned = _traced(model, TOKENS)
    assert len(graph.active_features) > 10
    expected = _jacobian(model, graph, pinned)
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
    graph, pinned = _traced(model, tokens)
    actual = [read.detach().clone() for read in pinned.first_reads]
    constants = []
    for layer in range(graph.n_layers):
        constant = pinned.written[layer].clone()  # at the opening positions nothing is split into nodes
        skip = model.transcoders.layers[layer].skip
        if skip is not None:
            constant -= actual[layer] @ skip
        constant[model.zero_positions :] = model.transcoders.layers[layer].decoder_bias
        constants.append(constant)
    pinned(torch.zeros_like(pinned.token_vectors), constants)
    sums = graph.dense().double().sum(1)
    for row, (layer, position, feature) in enumerate(graph.active_features.tolist()):
        encoder = model.transcoders.layers[layer].encoder[feature]
        expected = (actual[layer][position] - pinned.reads[layer][position]) @ encoder
        magnitude = graph.dense()[row].abs().sum().double() + 1
        assert abs(sums[row] - expected) / magnitude < 1e-5
