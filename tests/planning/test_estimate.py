from __future__ import annotations

import math
import random

import pytest

from pipeline.planning.estimate import Estimate, ratio_estimate


def test_what_is_proportional_to_its_size_is_known_exactly() -> None:
    estimate = ratio_estimate([2.0, 4.0], [1.0, 2.0], 30.0, 10)
    assert (estimate.total, estimate.error, estimate.mean, estimate.spread) == (60.0, 0.0, 6.0, 0.0)


def test_a_sample_of_all_has_no_error() -> None:
    assert ratio_estimate([1.0, 5.0, 3.0], [1.0, 1.0, 1.0], 3.0, 3) == Estimate(9.0, 0.0, 3)


def test_one_prompt_tells_nothing_of_the_spread() -> None:
    assert ratio_estimate([4.0], [2.0], 10.0, 5) == Estimate(20.0, math.inf, 5)


def test_the_truth_lies_within_the_error_for_nearly_all_samples() -> None:
    generator = random.Random(0)
    sizes = [generator.uniform(1, 10) for _ in range(400)]
    values = [3 * size + generator.gauss(0, 2) for size in sizes]
    missed = 0
    for _ in range(300):
        chosen = generator.sample(range(400), 25)
        estimate = ratio_estimate(
            [values[i] for i in chosen], [sizes[i] for i in chosen], sum(sizes), len(sizes)
        )
        missed += abs(estimate.total - sum(values)) > estimate.error
    assert 3 <= missed <= 30  # about one in twenty


def test_a_constant_is_certain() -> None:
    assert Estimate(10.0, 2.0, 4) + 5 == Estimate(15.0, 2.0, 4)
    assert Estimate(0.0, 0.0, 0).mean == pytest.approx(0)
