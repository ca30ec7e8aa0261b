"""Known directions are found, with as many active features as there are directions active."""

from __future__ import annotations

import pytest
import torch

from pipeline.training import WHOLE, LayerGroup
from pipeline.training.recipe import kth_largest
from tests.support.training import PlantedRows, begin, dictionary, train

pytestmark = pytest.mark.slow


def share_found(group: LayerGroup, planted: PlantedRows) -> float:
    """The share of directions whose image some feature writes, by a cosine above 0.9."""
    written = group.layers[0].weights.decoders[0].detach()
    truth = planted.directions @ planted.images[0]
    cosines = torch.nn.functional.normalize(truth, dim=1) @ torch.nn.functional.normalize(written, dim=1).T
    return float((cosines.max(1).values > 0.9).float().mean())


def test_planted_directions_are_found_and_directions_that_are_not_there_are_not():
    planted = PlantedRows(200, 100, 5.0)
    config = dictionary(features=256, k=5, steps=500, batch=512, dead_after=512 * 30)
    group, rows = begin(config, planted)
    untrained = share_found(group, planted)
    losses = train(group, rows)
    assert share_found(group, planted) >= 0.95
    assert untrained < 0.05
    assert sum(losses[-10:]) / 10 < 0.1
    others = PlantedRows(200, 100, 5.0, seed=1)
    assert share_found(group, others) < 0.05


def test_the_number_of_active_features_is_the_truth_within_two_percent():
    planted = PlantedRows(200, 100, 5.0)
    config = dictionary(features=256, k=5, steps=300, batch=512, dead_after=512 * 30)
    group, rows = begin(config, planted)
    train(group, rows)
    layer = group.layers[0]

    def scores() -> torch.Tensor:
        inputs = layer.normalisation.inputs(planted.rows(4096)[0].inputs)
        return (inputs @ layer.weights.encoder.T + layer.weights.encoder_bias) * layer.weights.norms()

    calibration = scores()
    cut = kth_largest(calibration[calibration > 0], 5 * 4096, WHOLE)  # as an export sets it
    assert float((scores() > cut).sum() / 4096) == pytest.approx(5, rel=0.02)
