"""From a sample to all: the ratio estimator, with its standard error.

What a prompt takes grows with a size that is known of every prompt, such as its length. So the sum over all
prompts is estimated as `sum of y / sum of x` in the sample times the known sum of x (Cochran, Sampling
Techniques, 1977, chapter 6). Its error comes from how far the sampled prompts scatter around the ratio; a
sample that holds every prompt has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A sum over all prompts."""

    total: float
    """The sum."""

    error: float
    """Two standard errors of it: about 19 of 20 samples are closer to the truth."""

    count: int
    """Prompts that it is over."""

    @property
    def mean(self) -> float:
        """Mean over prompts."""
        return self.total / self.count if self.count else 0.0

    @property
    def spread(self) -> float:
        """The error as a share of the sum."""
        return self.error / self.total if self.total else 0.0

    def __add__(self, constant: float) -> Estimate:
        """Return the estimate with something certain added to the sum."""
        return Estimate(self.total + constant, self.error, self.count)


def ratio_estimate(values: Sequence[float], sizes: Sequence[float], all_sizes: float, count: int) -> Estimate:
    """Estimate the sum of a value over all prompts.

    Args:
        values: the value for each sampled prompt.
        sizes: a size that it grows with, for each sampled prompt.
        all_sizes: the sum of that size over all prompts.
        count: number of prompts.

    """
    n = len(values)
    ratio = sum(values) / sum(sizes)
    if n < 2 or n >= count:
        return Estimate(ratio * all_sizes, 0.0 if n >= count else math.inf, count)
    residuals = sum((y - ratio * x) ** 2 for y, x in zip(values, sizes, strict=True)) / (n - 1)
    # (1 - n / count): a sample that holds nearly every prompt leaves little to be wrong about.
    error = 2 * count * math.sqrt((1 - n / count) * residuals / n)
    return Estimate(ratio * all_sizes, error, count)
