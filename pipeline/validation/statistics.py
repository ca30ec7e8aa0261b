"""Correlations and intervals, with `None` where there is nothing to correlate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

LEAST_POINTS = 4
"""Below this a correlation says nothing."""

RESAMPLES = 1000
"""Bootstrap samples of an interval."""


def spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float | None:
    """Return the rank correlation; ties share their mean rank."""
    return pearson(_ranks(x), _ranks(y))


def pearson(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float | None:
    """Return the linear correlation."""
    if len(x) < LEAST_POINTS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def pearson_of_logs(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float | None:
    """Return the correlation of the logarithms, over the points where both are positive."""
    positive = (x > 0) & (y > 0)
    return pearson(np.log(x[positive]), np.log(y[positive]))


def median_interval(values: Float[np.ndarray, " n"], seed: int = 0) -> tuple[float, float, float]:
    """Return the median with its 95% bootstrap interval (percentiles of resampled medians)."""
    resampled = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    return float(np.median(values)), float(low), float(high)


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return ((last - (count - 1) / 2)[place]).astype(float)
