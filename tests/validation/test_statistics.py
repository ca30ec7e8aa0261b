from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.validation.statistics import (
    RESAMPLES,
    median_interval,
    partial_spearman,
    pearson,
    pearson_of_logs,
    spearman,
)

lists = st.lists(st.integers(-50, 50), min_size=5, max_size=30, unique=True)


@given(lists, st.randoms(use_true_random=False))
def test_ranks_are_all_that_counts(values, random):
    x = np.array(values, dtype=float)
    y = np.array(random.sample(values, len(values)), dtype=float)
    assert spearman(x, y) == pytest.approx(spearman(np.exp(x / 10), y**3))
    assert spearman(x, x) == pytest.approx(1)
    assert spearman(x, -x) == pytest.approx(-1)


def test_ties_share_their_mean_rank():
    # Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4.
    expected = np.corrcoef([1.5, 1.5, 3, 4], [1, 2, 3, 4])[0, 1]
    assert spearman(np.array([5.0, 5, 6, 9]), np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(expected)


def test_a_partial_correlation_is_what_a_competitor_leaves():
    """Found where x has an effect of its own; not where it only follows the competitor."""
    random = np.random.default_rng(3)
    given = random.normal(size=2000)
    follows = given + random.normal(size=2000)
    own = random.normal(size=2000)
    assert partial_spearman(follows, given + random.normal(size=2000), given) == pytest.approx(0, abs=0.06)
    assert spearman(follows, given + random.normal(size=2000)) > 0.4
    assert partial_spearman(own + given, own + given + random.normal(size=2000), given) > 0.6
    assert partial_spearman(given, follows, given) is None


def test_nothing_to_correlate_is_nothing():
    assert pearson(np.arange(3.0), np.arange(3.0)) is None
    assert spearman(np.ones(9), np.arange(9.0)) is None


def test_logs_leave_out_what_has_none():
    x = np.array([0.0, 1, 10, 100, 1000, -1])
    assert pearson_of_logs(x, np.array([7.0, 1, 10**0.5, 10, 10**1.5, 3])) == pytest.approx(1)


def test_an_interval_holds_the_median_and_narrows_with_more_values():
    random = np.random.default_rng(0)
    widths = []
    for count in (20, 2000):
        value, low, high = median_interval(random.normal(size=count))
        assert low <= value <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 4


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    intervals = [median_interval(random.normal(size=40), seed) for seed in range(200)]
    assert 0.88 <= np.mean([low <= 0 <= high for _, low, high in intervals]) <= 0.99


def test_intervals_by_cluster_cover_the_truth_where_plain_ones_do_not():
    """Ten clusters whose members all but repeat one another: single rows are no evidence of their own."""
    random = np.random.default_rng(2)
    clusters = np.repeat(np.arange(10), 8)
    covered = {"cluster": 0, "plain": 0}
    for seed in range(40):
        values = random.normal(size=10)[clusters] + 0.05 * random.normal(size=80)
        for name, of_values in (("cluster", clusters), ("plain", None)):
            _, low, high = median_interval(values, seed, of_values)
            covered[name] += low <= 0 <= high
    assert covered["cluster"] >= 35
    assert covered["plain"] < 28


def test_one_cluster_has_no_interval():
    assert median_interval(np.arange(5.0), clusters=np.zeros(5)) == (2.0, None, None)


def test_the_bootstrap_is_that_of_whole_clusters():
    """Against samples written out: clusters of different sizes, repeated values, odd and even totals."""
    random = np.random.default_rng(4)
    clusters = random.integers(7, size=31)
    values = random.integers(9, size=31).astype(float)
    members = [values[clusters == cluster] for cluster in np.unique(clusters)]
    drawn = np.random.default_rng(5).integers(len(members), size=(RESAMPLES, len(members)))
    medians = [np.median(np.concatenate([members[i] for i in sample])) for sample in drawn]
    expected = (np.median(values), *np.percentile(medians, (2.5, 97.5)))
    assert median_interval(values, 5, clusters) == pytest.approx(expected)
