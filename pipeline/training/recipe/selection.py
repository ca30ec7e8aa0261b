"""The cut of BatchTopK: the K-th largest of all features' scores over a batch, exactly, without sorting them.

Few scores come near the cut, and it moves little from step to step: only those above a bound below the last
cut are looked at, and all of them where the bound turns out too high. Over shards of features no process
sees all scores; there the cut is found byte by byte of their floats' bits, whose order is that of the
numbers, by four histograms of 256 that are summed over the shards.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.training.feature_shard import FeatureShard

BOUND = 0.9
"""Scores above this share of the last cut are looked at first."""


def kth_largest(scores: Float[Tensor, " n"], k: int, shard: FeatureShard) -> float:
    """Return the k-th largest of positive scores over all shards; there are at least k."""
    if shard.size == 1:
        return float(scores.topk(k).values[-1])
    bits, prefix, wanted = scores.view(torch.int32).long(), 0, k
    for shift in (24, 16, 8, 0):
        inside = bits[(bits >> (shift + 8)) == prefix]
        counts = torch.bincount((inside >> shift) & 255, minlength=256)
        shard.all_reduce(counts)
        from_top = counts.flip(0).cumsum(0)
        bucket = 255 - int((from_top < wanted).sum())
        wanted -= int(from_top[255 - bucket] - counts[bucket])
        prefix = (prefix << 8) | bucket
    return float(torch.tensor(prefix, dtype=torch.int32).view(torch.float32))


def largest_of_batch(
    preactivations: Float[Tensor, "B F"],
    norms: Float[Tensor, " F"],
    k: int,
    last_cut: float,
    shard: FeatureShard,
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], float]:
    """Return rows and features of the B k largest scores of a batch that are above 0, and their smallest.

    Args:
        preactivations: of this shard's features.
        norms: of what each feature writes; a score is a pre-activation times this.
        k: number of features a row, on average, over all shards.
        last_cut: of the step before; 0 where there is none.
        shard: the other processes.

    """
    wanted = k * len(preactivations)
    for bound in (BOUND * last_cut, 0.0):
        rows, features, scores = _above(preactivations, norms, bound)
        count = torch.tensor(len(scores))
        shard.all_reduce(count)
        if int(count) >= wanted:
            cut = kth_largest(scores, wanted, shard)
            # A bound is a quotient and a score a product: they may differ in the last digit.
            if bound == 0 or cut > bound * 1.0001:
                kept = scores >= cut
                return rows[kept], features[kept], cut
        elif bound == 0:
            break
    return rows, features, 0.0


def _above(preactivations: Tensor, norms: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    indices = (preactivations > bound / norms).view(-1).nonzero().squeeze(1)
    rows, features = indices // len(norms), indices % len(norms)
    scores = preactivations.view(-1)[indices] * norms[features]
    return rows, features, scores
