"""What must hold of interventions on any model, on random models of every architecture in float64."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import ReplacementModel, attribute
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import intervene_many
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import DEFAULT, OPEN, constrained
from tests.support.random_models import FEATURES, Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS

T = len(TOKENS)
CLOSE = {"atol": 1e-6, "rtol": 1e-6}
"""Several architectures' norms compute in float32 whatever they are given."""
MODES = {
    "default": lambda layers: DEFAULT,
    "first layer": lambda layers: constrained(range(1)),
    "direct": lambda layers: constrained(range(layers)),
    "open": lambda layers: OPEN,
}
recipes = st.sampled_from(range(len(RECIPES)))
cells = st.tuples(st.integers(0, 1), st.integers(1, T - 1), st.integers(0, FEATURES - 1))


@cache
def _model(index: int) -> ReplacementModel:
    return random_model(RECIPES[index])


@cache
def _base(index: int) -> BaseRun:
    return BaseRun.of(_model(index), [TOKENS])


@cache
def _clean(index: int):
    return intervene(_model(index), TOKENS, [])


def _reaching(model: ReplacementModel, mode, interventions: list[Intervention]) -> list[Intervention]:
    reach = model.transcoders.layers
    return [
        item
        for item in interventions
        if any(mode.writes_at(item.layer + up) for up in range(reach[item.layer].decoder.shape[1]))
    ]


@settings(max_examples=60, deadline=None)
@given(recipes, st.sampled_from(sorted(MODES)), st.lists(cells, min_size=1, max_size=4), st.booleans())
def test_unchanged_values_change_nothing(recipe, mode, chosen, as_factor):
    model, clean = _model(recipe), _clean(recipe)
    mode = MODES[mode](model.n_layers)
    same = [
        Intervention(layer, position, feature, factor=1.0)
        if as_factor
        else Intervention(layer, position, feature, float(clean.activations[layer][position, feature]))
        for layer, position, feature in chosen
    ]
    outcome = intervene(model, TOKENS, _reaching(model, mode, same), mode)
    torch.testing.assert_close(outcome.logits, clean.logits, **CLOSE)
    for found, expected in zip(outcome.activations, clean.activations, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


def test_a_clean_run_is_the_model(golden_case):
    model = _model(0)
    logits = model.model(input_ids=torch.tensor([TOKENS])).logits[0]
    torch.testing.assert_close(_clean(0).logits, logits)


@settings(max_examples=60, deadline=None)
@given(
    recipes,
    st.sampled_from(sorted(MODES)),
    st.lists(st.lists(st.tuples(cells, st.floats(-3, 3)), max_size=3), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_a_batch_is_what_each_row_is_alone(recipe, mode, rows, rows_per_pass):
    model, base = _model(recipe), _base(recipe)
    mode = MODES[mode](model.n_layers)
    sets = [
        _reaching(
            model, mode, [Intervention(*cell, **{("value", "factor")[cell[2] % 2]: x}) for cell, x in row]
        )
        for row in rows
    ]
    read = torch.tensor([[layer, position, 3] for layer in range(model.n_layers) for position in (1, T - 1)])
    together = intervene_many(base, InterventionBatch.of(base, sets), mode, read, rows_per_pass=rows_per_pass)
    for row, interventions in enumerate(sets):
        alone = intervene(model, TOKENS, interventions, mode)
        torch.testing.assert_close(together.logits[row], alone.logits[-1], **CLOSE)
        activations = torch.stack([alone.activations[layer][position, 3] for layer, position, _ in read])
        torch.testing.assert_close(together.activations[row], activations, **CLOSE)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_prompts_of_different_length_run_side_by_side(model_type, mode):
    recipe = Recipe(model_type, key_value_heads=4 if model_type in ("gpt2", "gpt_neox") else 2)
    model = random_model(recipe)
    mode = MODES[mode](model.n_layers)
    prompts = [TOKENS, TOKENS[:3], [1, 9, 30, 4]]
    base = BaseRun.of(model, prompts)
    change = [Intervention(0, "all", 5, 2.0), Intervention(0, -1, 7, factor=-1.0)]
    together = intervene_many(
        base, InterventionBatch.of(base, [change, [], change, change], [0, 1, 1, 2]), mode, rows_per_pass=4
    )
    for row, (prompt, interventions) in enumerate([(0, change), (1, []), (1, change), (2, change)]):
        alone = intervene(model, prompts[prompt], interventions, mode).logits[-1]
        torch.testing.assert_close(together.logits[row], alone, **CLOSE)


@pytest.mark.parametrize("recipe", range(len(RECIPES)))
def test_a_direct_effect_is_the_graphs_edge(recipe):
    """Edges are direct effects on pre-activations, so the direct mode must give them back."""
    model, base = _model(recipe), _base(recipe)
    graph = attribute(model, TOKENS)
    features = graph.active_features
    direct = constrained(range(model.n_layers))
    changes = InterventionBatch.ablating(base, [feature[None] for feature in features])
    found = intervene_many(base, changes, direct, read=features, preactivations=True)
    clean = intervene_many(
        base, InterventionBatch.of(base, [[]]), direct, read=features, preactivations=True
    ).activations
    n = len(features)
    edges = graph.dense()[:n, :n]  # rows are targets
    torch.testing.assert_close((clean - found.activations).T, edges, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("recipe", range(len(RECIPES)))
def test_without_features_and_errors_only_biases_and_skips_are_left(recipe):
    """Direct effects of all features and errors together: what remains is the tokens' and biases' part."""
    model, base = _model(recipe), _base(recipe)
    graph = attribute(model, TOKENS)
    direct = constrained(range(model.n_layers))
    everything = graph.active_features
    changes = InterventionBatch.ablating(base, [everything, everything[:0]], [True, True])
    read = everything[-3:]
    found = intervene_many(base, changes, direct, read=read, preactivations=True).activations
    edges = graph.dense()
    n, errors = len(everything), model.n_layers * T
    from_features = edges[n - 3 : n, :n].sum(1)
    from_errors = edges[n - 3 : n, n : n + errors].sum(1)
    clean = intervene_many(
        base, InterventionBatch.of(base, [[]]), direct, read, preactivations=True
    ).activations[0]
    torch.testing.assert_close(found[0], clean - from_features - from_errors, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found[1], clean - from_errors, atol=1e-6, rtol=1e-6)
