"""The single feature that tells a class: its F1 is what a reader would compute."""

import numpy as np
import pytest

from pipeline.training.report.class_features import f1_scores


def test_f1_is_that_of_precision_and_recall() -> None:
    says = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    members = np.array([[1], [1], [0], [1]], np.float32)
    precision, recall = 1.0, 2 / 3
    assert f1_scores(says, members)[0, 0] == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1_scores(says, members)[1, 0] == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
