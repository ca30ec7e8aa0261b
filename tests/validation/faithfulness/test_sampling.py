from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.validation.faithfulness.sampling import STRATA, MatchedSampler, draw_active, fill, stratified


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


def test_equal_sets_are_as_large_as_what_they_stand_for(grid):
    """The largest of each cell, as a circuit's are: plain stand-ins are far smaller, equal sets are not."""
    active, sizes = grid
    chosen = np.concatenate(
        [np.arange(c, c + 12)[np.argsort(-sizes[c : c + 12])[:1]] for c in range(0, 72, 12)]
    )
    sampler, random = MatchedSampler(active, sizes, chosen), np.random.default_rng(4)
    plain = [sizes[sampler.draw(random).indices].sum() / sizes[chosen].sum() for _ in range(20)]
    equal = [sampler.draw_equal(random) for _ in range(20)]
    assert max(plain) < 0.9
    for drawn in equal:
        assert drawn.size_ratio == pytest.approx(sizes[drawn.indices].sum() / sizes[chosen].sum())
        assert 0.95 <= drawn.size_ratio <= 1.05
        assert not set(drawn.indices) & set(chosen)


def test_what_is_missing_is_reported(grid):
    active, sizes = grid
    chosen = np.argsort(-sizes)[:40]
    drawn = MatchedSampler(active, sizes, chosen).draw_equal(np.random.default_rng(5))
    assert len(drawn.indices) == 32  # all there are
    assert drawn.size_ratio == pytest.approx(sizes[drawn.indices].sum() / sizes[chosen].sum())
    assert drawn.size_ratio < 0.5


def test_sets_of_any_active_features_sum_to_what_is_asked(grid):
    _, sizes = grid
    chosen = np.argsort(-sizes)[:12]
    wanted, random = sizes[chosen].sum(), np.random.default_rng(6)
    drawn = [draw_active(sizes, wanted, random) for _ in range(50)]
    assert all(0.95 <= one.size_ratio <= 1.05 for one in drawn)
    assert len({tuple(one.indices) for one in drawn}) > 40
    assert any(set(one.indices) & set(chosen) for one in drawn)


def test_filling_passes_over_what_is_too_large():
    sizes = np.array([9.0, 4.0, 30.0, 6.0])
    filled = fill([0, 2, 3, 1], sizes, 15.0)
    assert filled.indices.tolist() == [0, 3]
    assert filled.size_ratio == 1
    assert fill([1], sizes, 40.0, taken=[2]).size_ratio == pytest.approx(34 / 40)
