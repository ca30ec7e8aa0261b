"""How well a label tells a feature's active contexts from others, beside another feature's label.

Balanced accuracy is the mean of the share of active examples that are said to be active and the share of the
others that are not: 0.5 by guessing, also by saying yes to all. Its interval draws both shares from their
Jeffreys posteriors. The same examples are judged by the label of another feature. If both labels said
equally much, an example that one has right and the other wrong would be as likely to be the other way round:
the probability of a lead as large is a sum over two binomials, exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.stats import beta, binom

DRAWS = 20_000
"""Samples of an interval."""

ROUNDING = 1e-12


@dataclass(frozen=True)
class Score:
    """The score of a label and of its control."""

    score: float
    low: float
    high: float
    control: float
    p_value: float


def score_label(
    said: Sequence[bool], control: Sequence[bool], active: Sequence[bool], seed: int = 0
) -> Score:
    """Score what was said of examples by a label, and by a control."""
    truth = np.array(active, bool)
    right, control_right = (np.array(each, bool) == truth for each in (said, control))
    low, high = _interval(right, truth, seed)
    return Score(
        score=_balanced(right, truth),
        low=low,
        high=high,
        control=_balanced(control_right, truth),
        p_value=_p_value(right, control_right, truth),
    )


def _balanced(right: Bool[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    return float(right[truth].mean() + right[~truth].mean()) / 2


def _interval(right: Bool[np.ndarray, " n"], truth: Bool[np.ndarray, " n"], seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    for kind in (truth, ~truth):
        hits, total = int(right[kind].sum()), int(kind.sum())
        drawn += beta.rvs(hits + 0.5, total - hits + 0.5, size=DRAWS, random_state=random) / 2
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _p_value(
    right: Bool[np.ndarray, " n"], control_right: Bool[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> float:
    """Return the one-sided probability of a lead as large where labels could be exchanged."""
    lead = right.astype(int) - control_right.astype(int)
    observed, sums, chances = 0.0, np.zeros(1), np.ones(1)
    for kind in (truth, ~truth):
        total, undecided = int(kind.sum()), int(np.abs(lead[kind]).sum())
        observed += lead[kind].sum() / total
        wins = np.arange(undecided + 1)
        sums = np.add.outer(sums, (2 * wins - undecided) / total).ravel()
        chances = np.multiply.outer(chances, binom.pmf(wins, undecided, 0.5)).ravel()
    return float(min(1.0, chances[sums >= observed - ROUNDING].sum()))
