"""Simpler rankings against what they stand for, on random models in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import OPEN
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.effects import OutputMetrics
from pipeline.validation.faithfulness.explained_target import ExplainedTarget
from pipeline.validation.faithfulness.simple_rankings import gradient_scores, write_norms
from tests.support.random_models import random_model
from tests.support.recipes import RECIPES, TOKENS

TARGETS = {
    "token": ExplainedTarget("token", 0.7, {5: 1.0}),
    "difference": ExplainedTarget("difference", 1.0, {5: 1.0, 9: -1.0}),
    "feature": ExplainedTarget("feature", 1.0, {}, (1, len(TOKENS) - 1, 2)),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[2], RECIPES[7], RECIPES[11]], ids=str)
def test_the_gradient_is_the_effect_of_a_small_change(recipe, target):
    model = random_model(recipe)
    base = BaseRun.of(model, [TOKENS])
    features = np.concatenate(
        [np.insert(cells[:, 1:].numpy(), 0, index, axis=1) for index, cells in enumerate(base.active)]
    )
    with torch.inference_mode():
        encoded = [
            layer.encode(run.read[0])
            for layer, run in zip(model.transcoders.layers, base.layers, strict=True)
        ]
    activations = np.array([float(encoded[i][p, f]) for i, p, f in features.tolist()])
    nothing = np.zeros(len(features))
    edges = np.zeros((len(features),) * 2)
    circuit = Circuit(
        tuple(TOKENS), (target,), features, activations, nothing, features, activations, edges, nothing
    )
    metrics = OutputMetrics.of(base, circuit.targets)
    small = 1e-3  # several norms compute in float32 whatever they are given
    rows = [[Intervention(*cell, factor=1 + small)] for cell in features.tolist()]
    effects = metrics.run(base, InterventionBatch.of(base, rows), OPEN).effect
    scores = gradient_scores(base, metrics, features, activations)
    assert scores.max() > 0
    assert effects / small == pytest.approx(scores, rel=2e-2, abs=1e-2 * scores.max())


def test_a_write_norm_counts_every_layer_written_to():
    model = random_model(RECIPES[3])  # cross-layer
    norm = write_norms(model, np.array([[0, 1, 4]]), np.array([-2.0]))
    decoders = [model.transcoders.layers[0].decoder_rows(torch.tensor([4]), write) for write in range(2)]
    assert norm == pytest.approx(2 * float(torch.stack(decoders).norm()))
