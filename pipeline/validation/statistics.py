"""Correlations and intervals, with `None` where there is nothing to correlate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap, spearmanr

LEAST_POINTS = 4
"""Below this a correlation says nothing."""

RESAMPLES = 1000
"""Bootstrap samples of an interval."""


def spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float | None:
    """Return the rank correlation; ties share their mean rank. None says the same as in `pearson`."""
    return float(spearmanr(x, y).statistic) if _can_correlate(x, y) else None


def pearson(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float | None:
    """Return the linear correlation; None of too few points, or where one side never changes."""
    return float(np.corrcoef(x, y)[0, 1]) if _can_correlate(x, y) else None


def partial_spearman(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], given: Float[np.ndarray, " n"]
) -> float | None:
    """Return the rank correlation of x and y that is left when both are cleared of the ranks of a third."""
    of_xy, of_xz, of_yz = spearman(x, y), spearman(x, given), spearman(y, given)
    if of_xy is None or of_xz is None or of_yz is None:
        return None
    left = (1 - of_xz**2) * (1 - of_yz**2)
    return float((of_xy - of_xz * of_yz) / np.sqrt(left)) if left > 1e-12 else None


def _can_correlate(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> bool:
    return len(x) >= LEAST_POINTS and np.ptp(x) > 0 and np.ptp(y) > 0


def pearson_of_logs(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float | None:
    """Return the correlation of the logarithms, over the points where both are positive."""
    positive = (x > 0) & (y > 0)
    return pearson(np.log(x[positive]), np.log(y[positive]))


def median_interval(values: Float[np.ndarray, " n"], seed: int = 0) -> tuple[float, float, float]:
    """Return the median with its 95% bootstrap interval (percentiles of resampled medians)."""
    median = float(np.median(values))
    if len(values) < 2:  # nothing to resample
        return median, median, median
    random = np.random.default_rng(seed)
    found = bootstrap((values,), np.median, n_resamples=RESAMPLES, method="percentile", rng=random)
    return median, float(found.confidence_interval.low), float(found.confidence_interval.high)
