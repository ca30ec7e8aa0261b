"""What a hypothesis comes to: means over clusters of prompts, and chance.

Two things must hold before an effect is called shown. It must be there on prompts that were not tested: the
mean over clusters of how much more the chosen features do than matched sets has a t-interval that leaves out
0. And it must be due to these features: the p-value is the rank of the mean effect among those of the draws,
each of which names the same features on all prompts (two-sided); over several groups at the false discovery
rate of Benjamini and Hochberg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from pipeline.validation.hypotheses.testing import PromptOutcome

LEVEL = 0.05
"""False discovery rate over groups, and 1 less the confidence of intervals."""

COMPETITORS = ("matched", "active", "largest", "random", "mixed")


@dataclass(frozen=True)
class Mean:
    """A mean over clusters with its 95% interval."""

    value: float
    low: float | None
    high: float | None
    """None where there is one cluster."""

    @property
    def is_above_zero(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high is not None and self.high < 0


@dataclass(frozen=True)
class KindVerdict:
    """One kind of set beside the chosen features."""

    effect: Mean
    more: Mean
    """Effect of the chosen features less that of these, prompt by prompt."""

    p_value: float | None
    """Two-sided rank of the chosen features' mean effect among the draws; None of a set that is not drawn."""

    size_ratio: float | None
    """Mean of their summed write norm over that of the chosen features, where they are matched."""

    flipped: float
    """Share of the prompts whose likeliest token changes."""

    moved: float
    """Share of them where it becomes the rival."""


@dataclass(frozen=True)
class GroupVerdict:
    """One group of prompts."""

    group: str
    prompts: int
    clusters: int
    left_out: int
    """Prompts on which none of the chosen features is active."""

    features: float
    """Median number of features that were changed."""

    value: float
    """Mean value of the clean runs."""

    effect: Mean
    flipped: float
    moved: float
    doses: dict[float, Mean]
    kinds: dict[str, KindVerdict]
    q_value: float = 1.0

    @property
    def is_shown(self) -> bool:
        """True if the chosen features do more than matched sets, on other prompts and by more than chance."""
        more = self.kinds["matched"].more
        larger = more.is_above_zero if self.effect.value >= 0 else more.is_below_zero
        return larger and self.q_value <= LEVEL


def verdicts(outcomes: Sequence[PromptOutcome], left_out: dict[str, int]) -> list[GroupVerdict]:
    """Sum up each group that has an outcome.

    Args:
        outcomes: of prompts where chosen features were active.
        left_out: number of the others, by group.

    """
    groups = dict.fromkeys(outcome.prompt.group for outcome in outcomes)
    found = [
        _verdict(group, [outcome for outcome in outcomes if outcome.prompt.group == group], left_out)
        for group in sorted(groups)
    ]
    q_values = (
        false_discovery_control([verdict.kinds["matched"].p_value for verdict in found]) if found else []
    )
    return [
        GroupVerdict(**{**vars(verdict), "q_value": float(q_value)})
        for verdict, q_value in zip(found, q_values, strict=True)
    ]


def _verdict(group: str, outcomes: list[PromptOutcome], left_out: dict[str, int]) -> GroupVerdict:
    clusters = np.unique([outcome.prompt.cluster for outcome in outcomes], return_inverse=True)[1]
    chosen = np.array([outcome.effects["chosen"][0] for outcome in outcomes])
    kinds = [kind for kind in COMPETITORS if kind in outcomes[0].effects]
    flipped, moved = _changed(outcomes, "chosen")
    return GroupVerdict(
        group,
        len(outcomes),
        int(clusters.max()) + 1,
        left_out.get(group, 0),
        float(np.median([outcome.features for outcome in outcomes])),
        float(np.mean([outcome.value for outcome in outcomes])),
        cluster_mean(chosen, clusters),
        flipped,
        moved,
        {
            dose: cluster_mean(np.array([outcome.doses[dose] for outcome in outcomes]), clusters)
            for dose in outcomes[0].doses
        },
        {kind: _kind_verdict(kind, outcomes, chosen, clusters) for kind in kinds},
    )


def _kind_verdict(
    kind: str, outcomes: list[PromptOutcome], chosen: Float[np.ndarray, " P"], clusters: np.ndarray
) -> KindVerdict:
    effects = np.stack([outcome.effects[kind] for outcome in outcomes])
    ratios = [outcome.size_ratios[kind] for outcome in outcomes if kind in outcome.size_ratios]
    own = effects.mean(1)
    return KindVerdict(
        cluster_mean(own, clusters),
        cluster_mean(chosen - own, clusters),
        None if kind == "largest" else p_value(chosen, effects, clusters),
        float(np.mean(ratios)) if ratios else None,
        *_changed(outcomes, kind),
    )


def _changed(outcomes: list[PromptOutcome], kind: str) -> tuple[float, float]:
    flipped = [np.mean(outcome.predictions[kind] != outcome.prediction) for outcome in outcomes]
    moved = [np.mean(outcome.predictions[kind] == outcome.rival) for outcome in outcomes]
    return float(np.mean(flipped)), float(np.mean(moved))


def cluster_mean(values: Float[np.ndarray, " P"], clusters: np.ndarray) -> Mean:
    """Return the mean of the clusters' means with its t-interval."""
    counts = np.bincount(clusters)
    means = np.bincount(clusters, values) / counts
    if len(means) < 2:
        return Mean(float(means.mean()), None, None)
    half = float(student.ppf(1 - LEVEL / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return Mean(float(means.mean()), float(means.mean()) - half, float(means.mean()) + half)


def p_value(
    chosen: Float[np.ndarray, " P"], drawn: Float[np.ndarray, "P draws"], clusters: np.ndarray
) -> float:
    """Return the two-sided rank of the mean effect among those of the draws, over their number and one."""
    counts = np.bincount(clusters)
    own = np.mean(np.bincount(clusters, chosen) / counts)
    weights = 1 / (counts[clusters] * len(counts))
    of_draws = weights @ drawn
    # Twice the smaller tail: draws need not be centred on 0.
    above, below = (1 + np.sum(of_draws >= own)), (1 + np.sum(of_draws <= own))
    return float(min(1.0, 2 * min(above, below) / (drawn.shape[1] + 1)))
