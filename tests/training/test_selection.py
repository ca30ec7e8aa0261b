"""The cut of BatchTopK against a sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.training.feature_shard import WHOLE
from pipeline.training.recipe.selection import kth_largest, largest_of_batch
from tests.support.training import in_threads


def sorted_cut(preactivations, norms, wanted):
    scores = np.sort((preactivations * norms).clamp(min=0).numpy().ravel())[::-1]
    return float(scores[wanted - 1])


@pytest.mark.parametrize("last_cut", [0.0, 0.3, 1.2, 50.0])
@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("pieces", [50, 7])
def test_the_cut_is_that_of_a_sort_whatever_the_last_one_was(shards, last_cut, pieces):
    torch.manual_seed(shards)
    preactivations, norms = torch.randn(50, 64), torch.rand(64) + 0.1
    expected = sorted_cut(preactivations, norms, 5 * 50)

    def select(shard):
        mine = list(shard.features(64))
        parts = preactivations[:, mine].split(pieces)
        entries, cut = largest_of_batch(
            lambda number: parts[number], [len(part) for part in parts], norms[mine], 5, last_cut, shard
        )
        assert torch.equal(entries.values, preactivations[:, mine][entries.rows, entries.features])
        return entries.rows, entries.features, cut

    found = in_threads(shards, select) if shards > 1 else [select(WHOLE)]
    assert {cut for _, _, cut in found} == {expected}
    entries = {
        (row, feature + rank * 64 // shards)
        for rank, (rows, features, _) in enumerate(found)
        for row, feature in zip(rows.tolist(), features.tolist(), strict=True)
    }
    above = ((preactivations * norms) >= expected).nonzero().tolist()
    assert entries == set(map(tuple, above))
    assert len(entries) == 5 * 50


def test_fewer_positive_scores_than_wanted_are_all_kept():
    preactivations = -torch.ones(10, 8)
    preactivations[3, 2] = 0.5
    found, cut = largest_of_batch(lambda number: preactivations, [10], torch.ones(8), 2, 0.1, WHOLE)
    assert (found.rows.tolist(), found.features.tolist(), cut) == ([3], [2], 0.0)


@pytest.mark.parametrize("spread", [1e-30, 1e-3, 1.0, 1e30])
def test_bytes_of_floats_find_every_rank(spread):
    scores = torch.rand(257, generator=torch.Generator().manual_seed(1)) * spread + spread / 1e4
    scores[10:20] = scores[9]  # ties
    ranked = scores.sort(descending=True).values
    halves = [scores[::2].contiguous(), scores[1::2].contiguous()]
    for k in (1, 2, 100, 128, 257):
        found = in_threads(2, lambda shard, k=k: kth_largest(halves[shard.rank], k, shard))
        assert found == [float(ranked[k - 1])] * 2
