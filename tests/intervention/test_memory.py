"""How many rows share a pass, and which."""

from __future__ import annotations

import pytest
import torch

from pipeline.intervention import memory
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.memory import plan_rows, row_bytes
from pipeline.intervention.passes import cut_passes
from tests.support.random_models import FEATURES, Recipe, random_model

TOKENS = [1, 7, 12, 30, 7, 25]
MODEL = random_model(Recipe())
BASE = BaseRun.of(MODEL, [TOKENS])


def test_a_pass_fills_neither_memory_nor_more_positions_than_pay_off(monkeypatch):
    assert plan_rows(BASE) == memory.MOST_POSITIONS["cpu"] // len(TOKENS)
    monkeypatch.setattr(memory, "CPU_BYTES", 5 * row_bytes(BASE))
    assert plan_rows(BASE) == 5
    monkeypatch.setattr(memory, "CPU_BYTES", 1)
    assert plan_rows(BASE) == 1


@pytest.mark.parametrize("most", [1, 3, 7, 100])
def test_every_row_is_in_one_pass(most):
    generator = torch.Generator().manual_seed(0)
    features = torch.stack(
        [
            torch.randint(low, high, (50,), generator=generator)
            for low, high in ((0, 2), (1, 6), (0, FEATURES))
        ],
        1,
    )
    passes = cut_passes(BASE, InterventionBatch.ablating(BASE, [feature[None] for feature in features]), most)
    assert sorted(torch.cat(passes).tolist()) == list(range(50))
    assert max(map(len, passes)) <= most
    assert sum(len(rows) < most for rows in passes) <= 1


def test_rows_that_begin_alike_share_a_pass():
    sets = [
        [Intervention(layer, position, 3, 0.0)] for layer in (0, 1) for position in (1, 5) for _ in range(4)
    ]
    changes = InterventionBatch.of(BASE, sets[::2] + sets[1::2])
    for rows in cut_passes(BASE, changes, 4):
        part = changes.select(rows)
        assert len(part.features[:, :2].unique(dim=0)) == 1
