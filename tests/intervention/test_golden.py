"""Interventions against circuit-tracer's own, every variant of every case."""

from __future__ import annotations

import pytest
import torch

from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.mode import DEFAULT, OPEN, constrained
from tests.support.golden_case import TOLERANCE, WHOLE

VARIANTS = ("default", "direct", "constrained_0_1", "nofreeze", "direct_preact")


def _mode(case, variant):
    settings = case.description["intervention"]["variants"][variant]
    if settings["constrained_layers"]:
        layers = settings["constrained_layers"]
        return constrained(range(layers[0], layers[-1] + 1))
    return DEFAULT if settings["freeze_attention"] else OPEN


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", WHOLE)
def test_agrees_with_circuit_tracer(golden_case, name, variant):
    case = golden_case(name)
    described = case.description["intervention"]
    tokens = case.description["prompts"][str(described["prompt"])]
    interventions = [
        Intervention(item["layer"], item["pos"], item["feature"], item["value"])
        for item in described["interventions"]
    ]
    outcome = intervene(
        case.model, tokens, interventions, _mode(case, variant), preactivations=variant.endswith("_preact")
    )
    expected = case.result("intervention")
    for found, key in ((outcome.logits, "logits"), (torch.stack(outcome.activations), "activations")):
        reference = expected[f"{variant}.{key}"]
        assert found.shape == reference.shape
        largest = float(reference.abs().max())
        torch.testing.assert_close(found, reference, atol=TOLERANCE * largest, rtol=0)
