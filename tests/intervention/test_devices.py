"""Interventions in a model that lies on several devices give the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline import ReplacementModel
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import BatchOutcome, intervene_many
from pipeline.intervention.generate import generate
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import DEFAULT, OPEN, constrained
from tests.support.pretend_devices import on_devices, pretend_devices
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name

CHANGED = [Intervention(0, 2, 3, value=1.5), Intervention(1, slice(None), 4, factor=2.0)]
MODES = {"default": DEFAULT, "all": constrained(range(2)), "open": OPEN}


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_interventions_are_the_same_over_two_devices(recipe: Recipe) -> None:
    model = random_model(recipe)
    expected = {name: intervene(model, TOKENS, CHANGED, mode) for name, mode in MODES.items()}
    with pretend_devices(2) as devices:
        spread = on_devices(model, devices)
        for name, mode in MODES.items():
            found = intervene(spread, TOKENS, CHANGED, mode)
            assert torch.equal(found.logits.cpu(), expected[name].logits)
            for ours, theirs in zip(found.activations, expected[name].activations, strict=True):
                assert torch.equal(ours.cpu(), theirs)


@pytest.mark.parametrize("recipe", RECIPES[:4], ids=recipe_name)
def test_batches_over_prompts_are_the_same_over_two_devices(recipe: Recipe) -> None:
    model, prompts = random_model(recipe), [TOKENS, TOKENS[:4]]
    read = torch.tensor([[0, 1, 3], [1, 2, 4], [1, 3, 5]])

    def run(model: ReplacementModel) -> BatchOutcome:
        base = BaseRun.of(model, prompts)
        changes = InterventionBatch.of(base, [CHANGED, CHANGED[:1], [], CHANGED[1:]], [0, 0, 1, 1])
        changes = replace(changes, without_errors=torch.tensor([1, 0, 0, 1]).bool().to(model.device))
        return intervene_many(base, changes, DEFAULT, read, rows_per_pass=2)

    expected = run(model)
    with pretend_devices(2) as devices:
        found = run(on_devices(model, devices))
        assert torch.equal(found.logits.cpu(), expected.logits)
        assert torch.equal(found.activations.cpu(), expected.activations)


def test_continuations_are_the_same_over_two_devices() -> None:
    model = random_model(Recipe("gemma2"))
    expected = generate(model, TOKENS, [CHANGED, []], 6, temperature=0.7, seed=1)
    with pretend_devices(2) as devices:
        found = generate(on_devices(model, devices), TOKENS, [CHANGED, []], 6, temperature=0.7, seed=1)
        assert [each.text for each in found] == [each.text for each in expected]
