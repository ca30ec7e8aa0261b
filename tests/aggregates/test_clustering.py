from __future__ import annotations

import numpy as np
import pytest

from pipeline.aggregates.supernodes.clustering import (
    adjusted_rand,
    average_linkage,
    by_size,
    majority,
    overlap,
    purity,
)


def by_brute_force(similarity: np.ndarray, least: float) -> np.ndarray:
    """Merge the most similar pair of clusters, over and over, with means taken anew."""
    clusters = [[i] for i in range(len(similarity))]
    while len(clusters) > 1:
        means = {
            (i, j): similarity[np.ix_(clusters[i], clusters[j])].mean()
            for i in range(len(clusters))
            for j in range(i)
        }
        (i, j), best = max(means.items(), key=lambda item: item[1])
        if best < least:
            break
        clusters[j] += clusters.pop(i)
    found = np.empty(len(similarity), int)
    for number, members in enumerate(clusters):
        found[members] = number
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("least", [-2.0, 0.0, 0.3, 0.9])
def test_chains_of_neighbours_find_what_brute_force_finds(seed: int, least: float) -> None:
    rows = np.random.default_rng(seed).normal(size=(25, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = rows @ rows.T
    np.testing.assert_array_equal(
        average_linkage(similarity, least), by_size(by_brute_force(similarity, least))
    )


def test_indices_are_those_of_worked_examples() -> None:
    a, b = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(a, b) == pytest.approx((2 - 6 * 3 / 15) / ((6 + 3) / 2 - 6 * 3 / 15))
    assert adjusted_rand(a, 1 - a) == 1.0
    assert majority(a, b) == pytest.approx(4 / 6)
    np.testing.assert_allclose(purity(a, b), [2 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(overlap(a, b), [2 / 3, 2 / 3])


def test_the_index_of_unrelated_partitions_is_zero_on_average() -> None:
    random = np.random.default_rng(0)
    found = [adjusted_rand(random.integers(4, size=60), random.integers(5, size=60)) for _ in range(300)]
    assert abs(np.mean(found)) < 0.01
