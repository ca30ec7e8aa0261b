"""The cut of BatchTopK: the K-th largest of all features' scores over a batch, exactly, without sorting them.

Few scores come near the cut, and it moves little from step to step: only those above a bound below the last
cut are looked at, and all of them where the bound turns out too high. Over shards of features no process
sees all scores; there the cut is found byte by byte of their floats' bits, whose order is that of the
numbers, by four histograms of 256 that are summed over the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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


@dataclass(frozen=True)
class Entries:
    """Entries of a batch's pre-activations, in the order of its rows."""

    rows: Int[Tensor, " n"]
    features: Int[Tensor, " n"]
    values: Float[Tensor, " n"]
    scores: Float[Tensor, " n"]

    def kept(self, which: Bool[Tensor, " n"]) -> Entries:
        """Return some of them."""
        return Entries(self.rows[which], self.features[which], self.values[which], self.scores[which])

    def of_rows(self, first: int, end: int) -> Entries:
        """Return those of some rows, which are counted from the first."""
        start, stop = torch.searchsorted(self.rows, self.rows.new_tensor([first, end])).tolist()
        part = slice(start, stop)
        return Entries(self.rows[part] - first, self.features[part], self.values[part], self.scores[part])


def largest_of_batch(
    preactivations: Callable[[int], Float[Tensor, "P F"]],
    pieces: Sequence[int],
    norms: Float[Tensor, " F"],
    k: int,
    last_cut: float,
    shard: FeatureShard,
) -> tuple[Entries, float]:
    """Return the B k largest scores of a batch that are above 0, and the smallest of them.

    Args:
        preactivations: gives those of a piece of the batch's rows, by the piece's number; of this shard's
            features. Only one piece is held at a time.
        pieces: rows of each piece.
        norms: of what each feature writes; a score is a pre-activation times this.
        k: number of features a row, on average, over all shards.
        last_cut: of the step before; 0 where there is none.
        shard: the other processes.

    """
    wanted = k * sum(pieces)
    for bound in (BOUND * last_cut, 0.0):
        found = _above(preactivations, pieces, norms, bound)
        count = torch.tensor(len(found.scores))
        shard.all_reduce(count)
        if int(count) >= wanted:
            cut = kth_largest(found.scores, wanted, shard)
            # A bound is a quotient and a score a product: they may differ in the last digit.
            if bound == 0 or cut > bound * 1.0001:
                return found.kept(found.scores >= cut), cut
        elif bound == 0:
            break
    return found, 0.0


def _above(
    preactivations: Callable[[int], Tensor], pieces: Sequence[int], norms: Tensor, bound: float
) -> Entries:
    parts, first = [], 0
    for number, rows_of_piece in enumerate(pieces):
        whole = preactivations(number)
        indices = (whole > bound / norms).view(-1).nonzero().squeeze(1)
        rows, features = indices // len(norms), indices % len(norms)
        values = whole.view(-1)[indices]
        parts.append((rows + first, features, values, values * norms[features]))
        first += rows_of_piece
    return Entries(*(torch.cat(column) for column in zip(*parts, strict=True)))
