from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.validation.faithfulness.sampling import STRATA, MatchedSampler, stratified


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 5))
def test_strata_are_drawn_from_evenly(n, count, seed):
    influence = np.random.default_rng(seed).random(n)
    chosen = stratified(influence, count, np.random.default_rng(seed))
    assert len(chosen) == len(set(chosen.tolist())) == min(n, count)
    if n >= 4 * count:
        bands = np.array_split(np.argsort(-influence), STRATA)
        per_band = [len(np.intersect1d(chosen, band)) for band in bands]
        assert max(per_band) - min(per_band) <= 1


@pytest.fixture
def grid():
    """Twelve features in each of six cells, with activations over two decades."""
    random = np.random.default_rng(0)
    active = np.array([[layer, p, f] for layer in range(2) for p in range(3) for f in range(12)])
    return active, np.exp(random.uniform(0, 4.6, len(active)))


def test_stand_ins_come_from_the_same_cell_and_are_of_like_size(grid):
    active, activations = grid
    random = np.random.default_rng(1)
    chosen = np.array([0, 5, 13, 40, 41])
    draws = [MatchedSampler(active, activations, chosen).draw(random) for _ in range(200)]
    for draw in draws:
        assert draw.matched == 1
        assert not set(draw.indices) & set(chosen)
        assert sorted(map(tuple, active[draw.indices, :2])) == sorted(map(tuple, active[chosen, :2]))
    assert 0.6 < np.median([draw.size_ratio for draw in draws]) < 1.6
    assert len({tuple(draw.indices) for draw in draws}) > 50


def test_a_cell_without_candidates_borrows_from_its_layer(grid):
    active, activations = grid
    chosen = np.arange(12)  # all of the first cell
    draw = MatchedSampler(active, activations, chosen).draw(np.random.default_rng(2))
    assert draw.matched == 0
    assert len(draw.indices) == 12
    assert set(active[draw.indices, 0]) == {0}


def test_a_layer_without_candidates_leaves_the_set_smaller(grid):
    active, activations = grid
    draw = MatchedSampler(active, activations, np.arange(30)).draw(np.random.default_rng(3))
    assert len(draw.indices) == 6
