"""Generation under interventions against the same thing computed from scratch at every token."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from pipeline import ReplacementModel
from pipeline.errors import InterventionError
from pipeline.intervention.generate import generate
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.mode import OPEN
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import GEMMA_4

TOKENS = [1, 7, 12, 30]
RECIPES = [
    Recipe("llama"),
    Recipe("llama", cross_layer=True, activation="topk"),
    Recipe("gemma2", activation="jumprelu"),
    Recipe("gemma3_text"),
    Recipe("gpt_oss"),
    Recipe("gpt2", key_value_heads=4),
    Recipe("gpt_neox", key_value_heads=4, cross_layer=True),
    *GEMMA_4,
]
SETS = [
    [],
    [Intervention(0, "all", 4, 6.0)],
    [Intervention(1, slice(2, None), 9, factor=-4.0), Intervention(0, "all", 4, 5.0)],
    [Intervention(0, 2, 4, 8.0)],
    [Intervention(0, slice(5, None, 2), 4, 8.0)],
]


@cache
def _model(recipe: Recipe) -> ReplacementModel:
    model = random_model(recipe)
    if recipe.model_type in ("llama", "gpt2", "gpt_neox"):
        model.model.config.sliding_window = None  # their attention has no window, but a cache would obey it
    return model


def _from_scratch(model: ReplacementModel, interventions: list[Intervention], count: int) -> list[int]:
    tokens = list(TOKENS)
    while len(tokens) < len(TOKENS) + count:
        tokens.append(int(intervene(model, tokens, interventions, OPEN).logits[-1].argmax()))
        if tokens[-1] == model.tokenizer.eos_token_id:
            break
    return tokens[len(TOKENS) :]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.model_type}-{recipe.cross_layer}")
def test_the_cache_changes_nothing(recipe):
    model = _model(recipe)
    rows = generate(model, TOKENS, SETS, max_new_tokens=6)
    for row, interventions in zip(rows, SETS, strict=True):
        expected = _from_scratch(model, interventions, 6)
        ended = expected[-1] == model.tokenizer.eos_token_id
        assert row.token_ids == tuple(expected[:-1] if ended else expected)
        assert row.text == model.tokenizer.decode(row.token_ids)
        expected_logits = intervene(model, TOKENS, interventions, OPEN).logits[-1]
        torch.testing.assert_close(row.logits, expected_logits)


def test_interventions_change_what_is_said():
    said = {row.token_ids for row in generate(_model(RECIPES[0]), TOKENS, SETS, max_new_tokens=6)}
    assert len(said) > 1


def test_a_seed_gives_the_same_words_whatever_runs_beside():
    model = _model(RECIPES[0])
    beside = generate(model, TOKENS, [SETS[1], [], SETS[2]], temperature=1.0, seed=3)
    alone = [generate(model, TOKENS, [row], temperature=1.0, seed=3)[0] for row in (SETS[1], [], SETS[2])]
    assert [row.token_ids for row in beside] == [row.token_ids for row in alone]
    others = {generate(model, TOKENS, [[]], temperature=1.0, seed=seed)[0].token_ids for seed in range(5)}
    assert len(others) > 1


def test_samples_follow_the_probabilities():
    model = _model(RECIPES[0])
    probabilities = intervene(model, TOKENS, []).logits[-1].softmax(-1)
    draws = [generate(model, TOKENS, [[]], 1, temperature=1.0, seed=seed)[0] for seed in range(300)]
    likeliest = int(probabilities.argmax())
    # A drawn end-of-sequence token leaves an empty continuation.
    share = sum(row.token_ids == (likeliest,) for row in draws) / 300
    expected = float(probabilities[likeliest])
    assert likeliest != model.tokenizer.eos_token_id
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "at least 1"),
        ({"temperature": -1.0}, "0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"temperature": 1e-320}, "from 1e-06"),
        ({"max_new_tokens": 29}, "at most 28"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InterventionError, match=message):
        generate(_model(RECIPES[0]), TOKENS, [[]], **options)


@pytest.mark.parametrize("listed", [[2, 10], 10, [11, 2, 10], None])
def test_every_end_that_the_generation_configuration_lists_is_one(listed: list[int] | int | None):
    model = random_model(Recipe("llama"))
    model.model.config.sliding_window = None
    said = generate(model, TOKENS, [[]], max_new_tokens=6)[0].token_ids
    assert len(set(said)) > 1
    # Rows of the unembedding are exchanged so that the second token said is one that the list has.
    second, wanted = next(token for token in said if token != said[0]), 10
    head = model.model.get_output_embeddings()
    with torch.no_grad():
        head.weight[[second, wanted]] = head.weight[[wanted, second]]
        if model.model.get_input_embeddings().weight is not head.weight:
            embedding = model.model.get_input_embeddings().weight
            embedding[[second, wanted]] = embedding[[wanted, second]]
    model.model.generation_config.eos_token_id = listed
    (row,) = generate(model, TOKENS, [[]], max_new_tokens=6)
    prompt = torch.tensor([TOKENS])
    theirs = model.model.generate(prompt, max_new_tokens=6, do_sample=False, pad_token_id=0)[0, len(TOKENS) :]
    ends = [2] if listed is None else [listed] if isinstance(listed, int) else listed
    expected = theirs.tolist()
    stop = next((n for n, token in enumerate(expected) if token in ends), len(expected))
    assert row.token_ids == tuple(expected[:stop])
    assert (stop < 6) == (listed is not None)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -float("inf"), "5"])
def test_an_amount_that_is_no_number_is_refused(amount: object):
    for kind in ("value", "factor"):
        with pytest.raises(InterventionError, match=f"amount {amount!r}"):
            Intervention(0, "all", 4, **{kind: amount})


@pytest.mark.parametrize("position", ["last", 1.0, None])
def test_a_position_that_is_none_is_refused(position: object):
    with pytest.raises(InterventionError, match=f"position {position!r}"):
        Intervention(0, position, 4, 1.0)


def test_a_model_that_overflows_is_refused():
    with pytest.raises(InterventionError, match="no longer finite"):
        generate(_model(RECIPES[0]), TOKENS, [[Intervention(0, "all", 4, 1e308)]])
