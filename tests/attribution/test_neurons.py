"""A model's own neurons as features, for every architecture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline import attribute
from pipeline.errors import ModelError, TranscoderError
from pipeline.hub import Neurons
from pipeline.intervention import Intervention, intervene
from tests.support.jacobian import jacobian, traced
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import GEMMA_4, TOKENS

GROUPED = [
    *("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "phi3"),
    *("gemma", "gemma2", "gemma3_text", "olmo2", "olmo3"),
]
ALL = [
    *(Recipe(name, activation="neurons") for name in GROUPED),
    Recipe("gpt2", key_value_heads=4, activation="neurons"),
    Recipe("gpt_neox", key_value_heads=4, activation="neurons"),
    *(replace(recipe, activation="neurons", input_hook="mlp.hook_in") for recipe in GEMMA_4[:3]),
]
RELU = [
    Recipe("gpt2", key_value_heads=4, activation="neurons", options=(("activation_function", "relu"),)),
    Recipe("gpt_neox", key_value_heads=4, activation="neurons", options=(("hidden_act", "relu"),)),
]


def _name(recipe: Recipe) -> str:
    return f"{recipe.model_type}-{recipe.activation}"


def _errors(model) -> torch.Tensor:
    frozen = model.freeze(torch.tensor(TOKENS))
    return torch.stack([layer.error for layer in frozen.layers]).abs().max()


@pytest.mark.parametrize("recipe", [*ALL, *RELU], ids=_name)
def test_neurons_make_up_the_whole_output_of_the_mlp(recipe):
    model = random_model(recipe)
    # Norms in Hugging Face's code are float32, whatever the model is.
    assert _errors(model) < (1e-5 if model.architecture.mlp_output_norm else 1e-10)


@pytest.mark.parametrize("recipe", RELU, ids=_name)
def test_a_relu_model_is_replaced_exactly(recipe):
    graph = attribute(random_model(recipe), TOKENS)
    assert graph.scores()[0] == pytest.approx(1, abs=1e-9)
    assert (graph.activations > 0).all()  # a neuron that is off is no feature


def test_biases_that_experts_add_are_the_error_of_gpt_oss():
    model = random_model(Recipe("gpt_oss", activation="neurons"))
    assert _errors(model) > 0.1
    with torch.no_grad():
        for layer in model.model.model.layers:
            layer.mlp.experts.down_proj_bias.zero_()
    assert _errors(model) < 1e-10


@pytest.mark.parametrize(
    "recipe",
    [
        *RELU,
        *(Recipe(name, activation="neurons") for name in ("llama", "mixtral", "gpt_oss")),
        *(Recipe(name, activation="neurons:5") for name in ("qwen2_moe", "phi3", "olmo2", "gemma2")),
        *(replace(recipe, activation="neurons:5", input_hook="mlp.hook_in") for recipe in GEMMA_4[:3]),
    ],
    ids=_name,
)
def test_edges_equal_the_jacobian(recipe):
    model = random_model(recipe)
    graph, pinned = traced(model, TOKENS)
    expected = jacobian(model, graph, pinned)
    scale = expected.abs().max()
    torch.testing.assert_close(graph.dense().double() / scale, expected / scale, atol=2e-6, rtol=0)


def test_experts_beside_the_mlp_of_gemma_4_are_no_neurons():
    with pytest.raises(ModelError, match=r"experts beside the MLP.*name a dictionary"):
        random_model(replace(GEMMA_4[3], activation="neurons"))


def test_the_strongest_are_those_that_write_most():
    everything = random_model(Recipe("llama", activation="neurons"))
    few = random_model(Recipe("llama", activation="neurons:5"))
    graph = attribute(few, TOKENS)
    layer = everything.transcoders.layers[1]
    run = everything.freeze(torch.tensor(TOKENS)).layers[1]
    position = len(TOKENS) - 1
    here = run.features[:, 0] == position
    written = run.activations[here].abs() * layer.decoder[run.features[here, 1], 0].norm(dim=1)
    best = run.features[here, 1][written.topk(5).indices].sort().values
    kept = graph.active_features[(graph.active_features[:, :2] == torch.tensor([1, position])).all(1)][:, 2]
    assert torch.equal(kept, best)
    assert _errors(few) > 0.01


def test_switching_a_neuron_off_takes_what_it_writes():
    model = random_model(Recipe("llama", layers=1, activation="neurons"))
    position = len(TOKENS) - 1
    clean = model.freeze(torch.tensor(TOKENS)).logits
    result = intervene(model, TOKENS, [Intervention(0, position, 3, 0.0)])
    mlp = model.model.model.layers[0].mlp
    column = mlp.down_proj.weight[:, 3].clone()
    mlp.down_proj.weight[:, 3] = 0  # off everywhere; with one layer only the last position is seen
    torch.testing.assert_close(result.logits[-1], model.freeze(torch.tensor(TOKENS)).logits)
    mlp.down_proj.weight[:, 3] = column
    assert not torch.allclose(result.logits[-1], clean)


@pytest.mark.parametrize("name", ["neurons:", "neurons:0", "neurons:many"])
def test_a_number_of_neurons_that_is_none_is_refused(name):
    with pytest.raises(TranscoderError, match=f"'{name}'"):
        Neurons.named(name)


@pytest.mark.parametrize("name", ["org/neurons", "./neurons", "neurons-2"])
def test_other_names_are_other_things(name):
    assert Neurons.named(name) is None
