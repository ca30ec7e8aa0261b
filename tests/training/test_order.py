"""The order of training: a function of the seed and the step, over whole sequences."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.training.data.order import TrainingOrder


def order(**changes) -> TrainingOrder:
    rows = np.random.default_rng(3).integers(1, 9, 200)
    return TrainingOrder(**({"rows_of_sequence": rows, "batch": 16, "buffer": 100, "seed": 5} | changes))


def test_a_step_is_where_it_is_whatever_was_asked_before():
    forwards, backwards = order(), order()
    places = [forwards.locate(step) for step in range(60)]
    assert [backwards.locate(step) for step in reversed(range(60))] == places[::-1]
    assert [place for _, place in places[:3]] == [0, 1, 2]


def test_an_epoch_has_every_sequence_once_and_the_next_has_another_order():
    found = order()
    seen = np.concatenate([found.sequences_of(buffer) for buffer in range(40)])
    first, second = seen[:200], seen[200:400]
    assert sorted(first) == sorted(second) == list(range(200))
    assert not np.array_equal(first, second)


def test_another_seed_is_another_order():
    assert not np.array_equal(order().sequences_of(0), order(seed=6).sequences_of(0))
    assert not np.array_equal(order().permutation(0, 50), order().permutation(1, 50))


def test_steps_take_whole_batches_of_a_buffer():
    found = order()
    for step in range(50):
        buffer, place = found.locate(step)
        rows = found.rows_of_sequence[found.sequences_of(buffer)].sum()
        assert (place + 1) * found.batch <= rows


def test_text_that_is_shorter_than_a_step_is_repeated():
    found = TrainingOrder(np.array([2, 1]), batch=16, buffer=100, seed=0)
    assert found.locate(4)[0] > 0
    assert set(found.sequences_of(0)) == {0, 1}


def test_a_buffer_without_enough_rows_is_refused():
    uneven = TrainingOrder(np.array([1000, *[1] * 50]), batch=500, buffer=500, seed=0)
    with pytest.raises(ConfigurationError, match="lower batch"):
        uneven.locate(30)
