"""What a graph explains, and which wishes are refused."""

from __future__ import annotations

import pytest
import torch

from pipeline import FeatureTarget, attribute, prune
from pipeline.attribution import AttributionOptions
from pipeline.errors import ConfigurationError, PromptError, TargetError
from tests.support.random_models import Recipe, random_model

TOKENS = [1, 7, 12, 30]


@pytest.fixture(scope="module")
def model():
    return random_model(Recipe("llama"), torch.float32)


def test_default_takes_tokens_until_their_probability_is_reached(model):
    probabilities = model.freeze(torch.tensor(TOKENS)).logits.softmax(-1).sort(descending=True)
    graph = attribute(model, TOKENS, options=AttributionOptions(max_targets=40, target_probability=0.7))
    needed = int((probabilities.values.cumsum(0) < 0.7).sum()) + 1
    assert [target.token_id for target in graph.targets] == probabilities.indices[:needed].tolist()
    assert graph.target_probabilities.sum() >= 0.7
    options = AttributionOptions(max_targets=2, target_probability=1.0)
    assert len(attribute(model, TOKENS, options=options).targets) == 2


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
        ([40], "target 40 .* ids run from 0 to 39"),
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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_feature_nodes", 0),
        ("batch_size", 0),
        ("update_interval", -1),
        ("edges_per_row", 0),
        ("max_targets", 0),
        ("target_probability", 1.5),
        ("tolerance", 1),
        ("precision", "float8"),
        ("tolerence", 0.1),
    ],
)
def test_options_check_themselves_when_they_are_built(option, value):
    with pytest.raises(ConfigurationError) as caught:
        AttributionOptions(**{option: value})
    assert option in str(caught.value)


def test_all_wrong_options_are_named_at_once_and_none_can_be_changed():
    with pytest.raises(ConfigurationError, match=r"(?s)max_targets is 0.*batch_size is -3"):
        AttributionOptions(max_targets=0, batch_size=-3)
    with pytest.raises(ValueError, match="frozen"):
        AttributionOptions().max_targets = 3


def test_blocks_of_nothing_are_refused(model):
    with pytest.raises(ConfigurationError, match="block_pairs is 0"):
        attribute(model, TOKENS, block_pairs=0)


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


def test_a_feature_as_target_has_the_edges_of_its_own_row(model):
    graph = attribute(model, TOKENS)
    dense = graph.dense()
    row = int((graph.active_features[:, 0] == 1).nonzero()[0, 0])
    layer, position, feature = graph.active_features[row].tolist()
    explained = attribute(model, TOKENS, [FeatureTarget(layer, position, feature)])
    n_sources = graph.n_nodes - len(graph.targets)
    torch.testing.assert_close(explained.dense()[-1, :n_sources], dense[row, :n_sources])
    assert explained.targets[0].label == f"{layer}/{feature}@{position}"
    pruned = prune(explained)
    assert (pruned.layer[-1], pruned.position[-1]) == (layer, position)


def test_an_inactive_feature_can_be_explained_too(model):
    graph = attribute(model, TOKENS)
    active = set(map(tuple, graph.active_features.tolist()))
    inactive = next(f for f in range(20) if (1, 2, f) not in active)
    assert attribute(model, TOKENS, [FeatureTarget(1, 2, inactive)]).dense()[-1].abs().sum() > 0


def test_tokens_directions_and_features_mix(model):
    targets = [7, "w9", ("d", 0.5, torch.ones(16)), FeatureTarget(1, -1, 3, weight=0.25)]
    graph = attribute(model, TOKENS, targets)
    assert [target.label for target in graph.targets] == ["w7", "w9", "d", "1/3@3"]
    assert graph.target_probabilities[2:].tolist() == [0.5, 0.25]
    alone = [attribute(model, TOKENS, [target]).dense()[-1] for target in targets]
    together = graph.dense()
    for place, row in enumerate(alone):
        torch.testing.assert_close(
            together[place - len(targets), : -len(targets)], row[:-1], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (FeatureTarget(2, 1, 0), "has layer 2: it must be from 0 to 1"),
        (FeatureTarget(0, 4, 0), "has position 4: it must be from 0 to 3"),
        (FeatureTarget(0, 1, 20), "has feature 20: it must be from 0 to 19"),
    ],
)
def test_features_that_do_not_exist_are_refused(model, target, message):
    with pytest.raises(TargetError, match=message):
        attribute(model, TOKENS, [target])


def test_a_graph_introduces_itself_in_a_line(model):
    graph = attribute(model, TOKENS)
    assert "targets [" in repr(graph)
    assert len(repr(graph)) < 400
    assert " nodes, " in repr(prune(graph))


def test_any_position_can_be_explained(model):
    early = attribute(model, TOKENS, options=AttributionOptions(position=2))
    assert torch.equal(early.dense(), attribute(model, TOKENS[:3]).dense())
    assert torch.equal(
        attribute(model, TOKENS, options=AttributionOptions(position=-2)).dense(), early.dense()
    )
    for position in (0, 4, -4, 9):
        with pytest.raises(PromptError, match=f"position is {position}, but the prompt has positions 1 to 3"):
            attribute(model, TOKENS, options=AttributionOptions(position=position))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("w7", "give a list, also for a single one"),
        (7, "give a list, also for a single one"),
        ([True], "target True"),
        ([("d", -1.0, torch.ones(16))], "has weight -1"),
        ([("d", float("nan"), torch.ones(16))], "has weight nan"),
        ([("d", 1.0, torch.full((16,), float("inf")))], "a vector that is not finite"),
        ([("d", 1.0, torch.zeros(16))], "'d' is zero everywhere"),
    ],
)
def test_targets_of_the_wrong_kind_are_refused(model, targets, message):
    with pytest.raises(TargetError, match=message):
        attribute(model, TOKENS, targets)


def test_logits_that_are_not_numbers_are_refused():
    model = random_model(Recipe("llama"), torch.float32)
    model.model.lm_head.weight[3, 0] = float("nan")
    with pytest.raises(PromptError, match="a logit at layer 2 is not a finite number"):
        attribute(model, TOKENS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_precision_gives_scores(dtype):
    graph = attribute(random_model(Recipe("llama"), dtype), TOKENS)
    pruned = prune(graph)
    for score in (*graph.scores(), pruned.replacement_score, pruned.completeness_score):
        assert 0 <= score <= 1
    assert graph.dense().dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
