"""Correlations and intervals, with `None` where there is nothing to correlate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import spearmanr

LEAST_POINTS = 4
"""Below this a correlation says nothing."""

RESAMPLES = 1000
"""Bootstrap samples of an interval."""

CELLS = 1 << 22
"""Values, over all samples, that are held at once."""


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


def median_interval(
    values: Float[np.ndarray, " n"], seed: int = 0, clusters: Int[np.ndarray, " n"] | None = None
) -> tuple[float, float | None, float | None]:
    """Return the median with its 95% bootstrap interval (percentiles of resampled medians).

    Args:
        values: one a graph.
        seed: of the resampling.
        clusters: cluster of each value, drawn whole, since its members say much the same; by default each
            value is its own. Of a single cluster there is no interval.

    """
    median = float(np.median(values))
    order = np.unique(np.arange(len(values)) if clusters is None else clusters, return_inverse=True)[1]
    count = int(order.max()) + 1
    if count < 2:
        return median, None, None
    by_size = np.argsort(values, kind="stable")
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    at_once = max(1, CELLS // len(values))
    medians = [
        _medians(values[by_size], order[by_size], drawn[start : start + at_once])
        for start in range(0, RESAMPLES, at_once)
    ]
    low, high = np.percentile(np.concatenate(medians), (2.5, 97.5))
    return median, float(low), float(high)


def _medians(
    ascending: Float[np.ndarray, " n"], cluster: Int[np.ndarray, " n"], drawn: Int[np.ndarray, "samples c"]
) -> Float[np.ndarray, " samples"]:
    """Return the median of each sample of clusters, by how often each value is in it."""
    times = np.stack([np.bincount(sample, minlength=drawn.shape[1]) for sample in drawn])
    up_to = times[:, cluster].cumsum(1)
    total = up_to[:, -1]
    # The first value that more than so many of the sample do not exceed; two middle ones of an even number.
    middle = [(up_to > half[:, None]).argmax(1) for half in ((total - 1) // 2, total // 2)]
    return (ascending[middle[0]] + ascending[middle[1]]) / 2
