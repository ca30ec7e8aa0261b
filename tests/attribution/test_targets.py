"""What a graph explains, and which wishes are refused."""

from __future__ import annotations

import pytest
import torch

from pipeline import attribute
from pipeline.errors import ConfigurationError, PromptError, TargetError
from tests.random_models import Recipe, random_model

TOKENS = [1, 7, 12, 30]


@pytest.fixture(scope="module")
def model():
    return random_model(Recipe("llama"), torch.float32)


def test_default_takes_tokens_until_their_probability_is_reached(model):
    probabilities = model.freeze(torch.tensor(TOKENS)).logits.softmax(-1).sort(descending=True)
    graph = attribute(model, TOKENS, max_targets=40, target_probability=0.7)
    needed = int((probabilities.values.cumsum(0) < 0.7).sum()) + 1
    assert [target.token_id for target in graph.targets] == probabilities.indices[:needed].tolist()
    assert graph.target_probabilities.sum() >= 0.7
    assert len(attribute(model, TOKENS, max_targets=2, target_probability=1.0).targets) == 2


def test_a_logit_difference_is_the_difference_of_its_rows(model):
    rows = model.unembedding
    direction = [("a - b", 1.0, rows[7] - rows[9])]
    difference = attribute(model, TOKENS, direction).dense()[-1]
    both = attribute(model, TOKENS, [7, 9]).dense()
    expected = both[-2] - both[-1]
    torch.testing.assert_close(difference[:-1], expected[:-2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "targets are empty"),
        ([40], "target 40 is no token id of this model: ids run from 0 to 39"),
        ([-1], "target -1"),
        ([7, 7], "repeat a token"),
        (["w7 w8"], r"'w7 w8' is 2 tokens"),
        ([1.5], "target 1.5"),
        ([("d", 1.0)], "has 2 parts"),
        ([("d", 1.0, torch.zeros(3))], r"has shape \(3,\): it must be \(16,\)"),
    ],
)
def test_targets_that_do_not_exist_are_refused(model, targets, message):
    with pytest.raises(TargetError, match=message):
        attribute(model, TOKENS, targets)


@pytest.mark.parametrize("option", ["max_feature_nodes", "batch_size", "update_interval", "block_pairs"])
def test_options_out_of_range_are_named(model, option):
    with pytest.raises(ConfigurationError, match=f"{option} is 0; it must be at least 1"):
        attribute(model, TOKENS, **{option: 0})


def test_a_prompt_that_overflows_is_refused_not_traced():
    model = random_model(Recipe("llama"), torch.float32)
    model.model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(PromptError, match="MLP output at layer 1 is not a finite number"):
        attribute(model, TOKENS)


def test_a_prompt_without_active_features_still_has_a_graph():
    model = random_model(Recipe("llama"), torch.float32)
    for layer in model.transcoders.layers:
        layer.encoder.zero_()
        layer.encoder_bias.fill_(-1)
    graph = attribute(model, TOKENS)
    assert len(graph.active_features) == 0
    assert graph.dense().shape == (graph.n_nodes, graph.n_nodes)
    assert 0 <= graph.scores()[0] <= 1
