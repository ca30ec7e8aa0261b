"""Which interventions are understood and which are refused."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import InterventionError
from pipeline.intervention import batch
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import intervene_many
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import constrained
from tests.support.random_models import Recipe, random_model

TOKENS = [1, 7, 12, 30]
MODEL = random_model(Recipe())
BASE = BaseRun.of(MODEL, [TOKENS])


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (2, [2]),
        (-1, [3]),
        ("all", [1, 2, 3]),
        (slice(None), [1, 2, 3]),
        (slice(2, None), [2, 3]),
        (slice(-2, -1), [2]),
    ],
)
def test_positions_that_an_intervention_covers(position, expected):
    assert Intervention(0, position, 5, 1.0).positions(len(TOKENS), 1) == expected


@pytest.mark.parametrize(
    ("intervention", "message"),
    [
        (Intervention(2, 1, 0, 0.0), "layers run from 0 to 1"),
        (Intervention(0, 1, 20, 0.0), "features of that layer run from 0 to 19"),
        (Intervention(0, 0, 3, 0.0), "positions 1 to 3"),
        (Intervention(0, 4, 3, 0.0), "positions 1 to 3"),
    ],
)
def test_what_does_not_exist_is_named(intervention, message):
    with pytest.raises(InterventionError, match=message):
        intervene(MODEL, TOKENS, [intervention])


@pytest.mark.parametrize("amount", [{}, {"value": 1.0, "factor": 1.0}])
def test_value_and_factor_exclude_each_other(amount):
    with pytest.raises(InterventionError, match="exactly one"):
        Intervention(0, 1, 2, **amount)


def test_a_change_that_writes_outside_the_range_is_refused():
    with pytest.raises(InterventionError, match=r"layers 1 to 1, outside .* 0 to 0"):
        intervene(MODEL, TOKENS, [Intervention(1, 1, 2, 0.0)], constrained(range(1)))


@pytest.mark.parametrize("layers", [range(0), range(-1, 1), range(0, 4, 2)])
def test_an_impossible_range_is_refused(layers):
    with pytest.raises(InterventionError, match="range"):
        constrained(layers)


def test_the_later_of_two_changes_counts():
    both = intervene(MODEL, TOKENS, [Intervention(0, "all", 5, 9.0), Intervention(0, 2, 5, 1.0)])
    written_out = [Intervention(0, 1, 5, 9.0), Intervention(0, 2, 5, 1.0), Intervention(0, 3, 5, 9.0)]
    assert torch.equal(both.logits, intervene(MODEL, TOKENS, written_out).logits)


def test_memory_running_out_halves_the_pass(monkeypatch):
    changes = InterventionBatch.of(BASE, [[Intervention(0, 1, feature, 2.0)] for feature in range(5)])
    expected = intervene_many(BASE, changes).logits
    run, sizes = batch._run, []

    def scarce(base, selected, *rest):
        sizes.append(selected.n_rows)
        if selected.n_rows > 2:
            raise torch.OutOfMemoryError("no room")
        return run(base, selected, *rest)

    monkeypatch.setattr(batch, "_run", scarce)
    torch.testing.assert_close(intervene_many(BASE, changes).logits, expected)
    assert sizes == [5, 2, 2, 1]


def test_the_model_is_left_as_it_was():
    before = {name: dict(module.__dict__) for name, module in MODEL.model.named_modules()}
    with pytest.raises(InterventionError):
        intervene(MODEL, TOKENS, [Intervention(0, 9, 3, 0.0)])
    intervene(MODEL, TOKENS, [Intervention(0, "all", 3, 2.0)], constrained(range(2)))
    for name, module in MODEL.model.named_modules():
        assert "forward" not in module.__dict__, name
        assert not module._forward_hooks, name
        assert not module._forward_pre_hooks, name
        assert module.__dict__.keys() == before[name].keys(), name
