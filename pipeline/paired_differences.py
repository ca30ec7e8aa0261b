"""Paired differences by cluster: their mean, its interval, and the probability of one as large by chance.

Prompts of one cluster say much the same, so a cluster counts once, with the mean of its prompts. The null
hypothesis is not "no difference at all", which no two models meet, but "no difference beyond a margin": the
differences less the margin are as likely to be negative as positive (signs flipped, all ways where these are
few). Shares of right answers are 0 or 1, so that a bootstrap of twenty equal ones would give an interval
without width: theirs adds half a cluster to each way of disagreeing (Agresti and Min 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import beta, false_discovery_control

FALSE_DISCOVERY_RATE = 0.05
"""Share of the differences said to be there that are not."""

LEAST_CLUSTERS = 6
"""Fewer can show nothing: all signs of five flipped, no two-sided p-value is below 0.0625."""

RESAMPLES = 2000
"""Bootstrap samples of an interval."""

FLIPS = 9999
"""Random flips where there are too many to try all."""

ALL_WAYS = 12
"""Clusters up to which all ways of flipping are tried."""

NORMAL = 1.959964
"""97.5% quantile of the normal distribution."""


@dataclass(frozen=True)
class Difference:
    """A mean difference over clusters."""

    mean: float
    low: float | None
    """Lower end of its 95% interval; None of too few clusters."""

    high: float | None
    p_value: float | None
    """Two-sided, of a mean as far beyond the margin; None of too few clusters."""

    clusters: int


def cluster_means(
    values: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " clusters"]:
    """Return the mean of each cluster's values; those that are NaN are left out."""
    there = ~np.isnan(values)
    index = np.unique(clusters[there], return_inverse=True)[1]
    if not len(index):
        return np.empty(0)
    return np.bincount(index, values[there]) / np.bincount(index)


def difference(
    means: Float[np.ndarray, " clusters"], margin: float, is_share: bool, seed: int = 0
) -> Difference:
    """Return the mean of differences by cluster.

    Args:
        means: a difference a cluster.
        margin: size that a difference must exceed to count.
        is_share: they are differences of right and wrong answers, -1 to 1.
        seed: of what is drawn.

    """
    n = len(means)
    mean = float(means.mean()) if n else float("nan")
    if n < LEAST_CLUSTERS:
        return Difference(mean, None, None, None, n)
    random = np.random.default_rng(seed)
    low, high = _share_interval(means) if is_share else _bootstrap(means, random)
    return Difference(mean, low, high, sign_flip_p_value(means, margin, seed), n)


def _share_interval(means: Float[np.ndarray, " clusters"]) -> tuple[float, float]:
    n = len(means) + 2
    middle = means.sum() / n
    spread = NORMAL * np.sqrt((np.square(means).sum() + 1) / n - middle**2) / np.sqrt(n)
    return float(max(middle - spread, -1)), float(min(middle + spread, 1))


def _bootstrap(means: Float[np.ndarray, " clusters"], random: np.random.Generator) -> tuple[float, float]:
    drawn = random.integers(len(means), size=(RESAMPLES, len(means)))
    low, high = np.percentile(means[drawn].mean(1), (2.5, 97.5))
    return float(low), float(high)


def sign_flip_p_value(means: Float[np.ndarray, " clusters"], margin: float = 0.0, seed: int = 0) -> float:
    """Return the two-sided probability of a mean as far beyond the margin, by flipping clusters' signs."""
    beyond = (1.0 if means.mean() >= 0 else -1.0) * means - margin
    observed, n = beyond.mean(), len(beyond)
    if observed <= 0:
        return 1.0
    if n <= ALL_WAYS:
        signs, more = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1), 0
    else:  # what was seen is one of the draws
        signs, more = np.random.default_rng(seed).choice((-1.0, 1.0), size=(FLIPS, n)), 1
    # As far but for rounding counts: the flip that changes nothing is among them.
    as_far = int((np.abs(signs @ beyond / n) >= observed * (1 - 1e-12)).sum())
    return (as_far + more) / (len(signs) + more)


def share_interval(share: float, clusters: int) -> tuple[float, float]:
    """Return the 95% interval of a share of right answers over clusters (Jeffreys)."""
    right = share * clusters
    low, high = beta.ppf((0.025, 0.975), right + 0.5, clusters - right + 0.5)
    return float(low), float(high)


def adjusted(p_values: list[float | None]) -> list[float | None]:
    """Return q-values (Benjamini-Hochberg) of the p-values that there are."""
    there = [index for index, p in enumerate(p_values) if p is not None]
    found: list[float | None] = [None] * len(p_values)
    if there:
        for index, q in zip(there, false_discovery_control([p_values[i] for i in there]), strict=True):
            found[index] = float(q)
    return found
