"""What constants carry of a target's input, and how well features stand for each MLP, by brute force."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline import AttributionOptions, ReplacementModel, attribute
from pipeline.attribution.targets import Difference, FeatureTarget
from pipeline.graph.attribution_graph import AttributionGraph
from pipeline.model.recording import record
from tests.support.jacobian import constant_writes, traced
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name


def by_brute_force(model: ReplacementModel, graph: AttributionGraph, constants: Tensor) -> float:
    """The share from each target's constants, and the edges of the whole graph."""
    inputs = graph.dense().double().abs().sum(1)[-len(graph.targets) :]
    weights = graph.target_probabilities.double()
    return float((constants.abs() / (constants.abs() + inputs) * weights).sum() / weights.sum())


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_constants_are_what_the_pinned_model_gives_without_any_source(recipe: Recipe) -> None:
    model = random_model(recipe)
    graph, pinned = traced(model, TOKENS)
    final = pinned(torch.zeros_like(pinned.token_vectors), constant_writes(model, pinned))
    rows = model.unembedding[[target.token_id for target in graph.targets]] - model.unembedding.mean(0)
    assert graph.constants_share() == pytest.approx(by_brute_force(model, graph, rows @ final), abs=1e-5)
    assert 0 < graph.constants_share() < 1


@pytest.mark.parametrize("layer", [0, 1])
def test_constants_of_a_feature_hold_its_bias(layer: int) -> None:
    model = random_model(RECIPES[0])
    graph, pinned = traced(model, TOKENS)
    position, feature = graph.active_features[graph.active_features[:, 0] == layer][-1, 1:].tolist()
    explained = attribute(model, TOKENS, [FeatureTarget(layer, position, feature)])
    pinned(torch.zeros_like(pinned.token_vectors), constant_writes(model, pinned))
    transcoder = model.transcoders.layers[layer]
    constants = pinned.reads[layer][position] @ transcoder.encoder[feature] + transcoder.encoder_bias[feature]
    expected = by_brute_force(model, explained, constants[None])
    assert explained.constants_share() == pytest.approx(expected, abs=1e-5)
    # With a ReLU an active feature's pre-activation is its activation.
    index = (graph.active_features == torch.tensor([layer, position, feature])).all(1).nonzero()
    assert explained.target_values.item() == pytest.approx(graph.activations[index].item())


def test_edges_that_are_left_out_are_no_constants() -> None:
    model = random_model(Recipe("llama", layers=3))
    whole = attribute(model, TOKENS, [Difference(3, 4)])
    cut = attribute(model, TOKENS, [Difference(3, 4)], AttributionOptions(edges_per_row=2))
    assert cut.edges.dropped_share() > 0.1
    assert cut.constants_share() == pytest.approx(whole.constants_share(), rel=1e-6)


def test_a_model_without_constants_has_none() -> None:
    model = random_model(Recipe("llama"))  # no biases in the model
    layers = tuple(
        replace(layer, decoder_bias=torch.zeros_like(layer.decoder_bias))
        for layer in model.transcoders.layers
    )
    model = replace(model, transcoders=replace(model.transcoders, layers=layers))
    with torch.no_grad():  # nor anything written where nothing is split into nodes
        for layer in model.model.get_submodule(model.architecture.layers):
            layer.mlp.down_proj.weight.zero_()
    assert attribute(model, TOKENS).constants_share() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[2], RECIPES[1]], ids=recipe_name)
def test_reconstruction_is_what_the_dictionary_makes_of_the_mlp_s_input(recipe: Recipe) -> None:
    model = random_model(recipe)
    found = attribute(model, TOKENS).reconstruction
    sites = ("mlp_norm.input", "mlp_norm.output", "mlp.output")
    with torch.no_grad(), record(model.model, model.architecture, sites) as recorded:
        model.model(input_ids=torch.tensor([TOKENS]))
    assert found.zero_positions == 1
    read = "mlp_norm.input" if recipe.input_hook == "hook_resid_mid" else "mlp_norm.output"
    made = [layer.decoder_bias.repeat(len(TOKENS), 1) for layer in model.transcoders.layers]
    for index, layer in enumerate(model.transcoders.layers):
        inputs = recorded[read, index][0]
        if layer.skip is not None:
            made[index] += inputs @ layer.skip
        for write in range(layer.decoder.shape[1]):
            made[index + write] += layer.encode(inputs) @ layer.decoder[:, write]
    for index, reconstructed in enumerate(made):
        output, reconstructed = recorded["mlp.output", index][0, 1:], reconstructed[1:]
        for values, expected in (
            (found.output_norms, output.norm(dim=1)),
            (found.error_norms, (output - reconstructed).norm(dim=1)),
            (found.cosines, torch.cosine_similarity(output, reconstructed, dim=1)),
        ):
            torch.testing.assert_close(values[index, 1:].double(), expected, atol=1e-5, rtol=1e-5)
