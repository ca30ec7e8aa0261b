"""The p-value and the interval on planted effects, on dependent rows without one, beside simpler tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from pipeline.validation.faithfulness import ExplainedTarget
from pipeline.validation.hypotheses.changes import draw_matched, priorities
from pipeline.validation.hypotheses.question import Asked
from pipeline.validation.hypotheses.sentences import verdict_sentences
from pipeline.validation.hypotheses.testing import PromptOutcome
from pipeline.validation.hypotheses.verdicts import GroupVerdict, cluster_mean, p_value, verdicts

DRAWS, PROMPTS, FEATURES, CHOSEN = 59, 12, 60, 3

MANY = 399
"""Draws with which one group of ten can be found alone."""


def _outcome(number: int, chosen: float, matched: np.ndarray, group: str = "all", per_cluster: int = 1):
    prompt = Asked(
        number,
        f"q{number}",
        (0, 1),
        group,
        f"c{number // per_cluster}",
        ExplainedTarget("token", 1.0, {5: 1.0}),
        np.zeros((0, 3), int),
        np.zeros(0),
    )
    effects = {"chosen": np.array([chosen]), "largest": np.array([chosen])}
    effects |= dict.fromkeys(("matched", "active", "random"), matched)
    predictions = {kind: np.zeros(len(values), int) for kind, values in effects.items()}
    sizes = dict.fromkeys(("matched", "active", "random"), 1.0)
    return PromptOutcome(prompt, 3, 5, 6, 4.0, 1, effects, predictions, {0.0: chosen, 2.0: -chosen}, sizes)


def _features_that_matter(seed: int, own_effect: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects of arbitrary features on prompts: each feature has one of its own, the same on every prompt.

    Returns effects of the chosen set, of draws that name the same features, and of draws made anew, by
    prompt.
    """
    random = np.random.default_rng(seed)
    of_feature = random.normal(0, 1, FEATURES)
    names = random.choice(FEATURES, CHOSEN, replace=False)  # arbitrary: there is nothing about them
    of_feature[names] += own_effect
    chosen, same, anew = [], [], []
    for _ in range(PROMPTS):
        on = np.sort(
            np.concatenate([names, random.permutation(np.setdiff1d(np.arange(FEATURES), names))[:40]])
        )
        active = np.stack([np.zeros_like(on), np.ones_like(on), on], axis=1)
        here = np.flatnonzero(np.isin(on, names))
        effect = of_feature[on] + random.normal(0, 0.3, len(on))
        chosen.append(effect[here].sum())
        for rows, salt in ((same, 0), (anew, int(random.integers(1, 1 << 30)))):
            keys = (priorities(d, salt, active[:, 0], active[:, 2]) for d in range(DRAWS))
            rows.append([effect[draw_matched(active, np.ones(len(on)), here, key)].sum() for key in keys])
    return np.array(chosen), np.array(same), np.array(anew)


def test_arbitrary_features_are_not_significant_but_for_draws_made_anew():
    """Which features were named is chance; draws made anew on each prompt average it out."""
    significant = {"same": 0, "anew": 0, "signed ranks": 0}
    clusters, trials = np.arange(PROMPTS), 20
    for seed in range(trials):
        chosen, same, anew = _features_that_matter(seed)
        significant["same"] += p_value(chosen, same, clusters) <= 0.05
        significant["anew"] += p_value(chosen, anew, clusters) <= 0.05
        significant["signed ranks"] += wilcoxon(chosen - same.mean(1)).pvalue <= 0.05
    assert significant["same"] <= 2
    assert significant["anew"] >= 4
    assert significant["signed ranks"] >= 8


def test_features_with_an_effect_are_significant():
    found = [
        p_value(*_features_that_matter(seed, own_effect=3.0)[:2], np.arange(PROMPTS)) for seed in range(4)
    ]
    assert max(found) <= 0.05


def test_intervals_count_clusters_and_not_prompts():
    """Noise that clusters share: covered by cluster, not where each prompt counts."""
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(8), 6)
    covered = {"clusters": 0, "prompts": 0}
    for _ in range(200):
        values = random.normal(size=8)[clusters] + random.normal(0, 0.1, 48)
        for name, of_values in (("clusters", clusters), ("prompts", np.arange(48))):
            mean = cluster_mean(values, of_values)
            covered[name] += mean.low <= 0 <= mean.high
    assert covered["clusters"] >= 180
    assert covered["prompts"] <= 140


def _verdict(own: float, spread: float = 0.1, per_cluster: int = 1) -> GroupVerdict:
    random = np.random.default_rng(1)
    rows = [
        _outcome(n, own + random.normal(0, spread), random.normal(0, 0.2, DRAWS), per_cluster=per_cluster)
        for n in range(12)
    ]
    (verdict,) = verdicts(rows, {"all": 2})
    return verdict


def test_a_verdict_needs_both_prompts_and_features():
    shown = _verdict(2.0)
    assert shown.is_shown
    said = " ".join(verdict_sentences(shown))
    assert "lowers the logit difference by 2.01 (1.97 to 2.05), from 4.00" in said
    assert "Shown to be more than chance" in said
    assert "On 2 more prompts none of the chosen" in said
    assert "Not shown to be more than chance, since sets of other features do as much" in " ".join(
        verdict_sentences(_verdict(0.0))
    )
    alone = _verdict(2.0, per_cluster=12)
    assert not alone.is_shown
    assert "all prompts are of one cluster" in " ".join(verdict_sentences(alone))
    varied = _verdict(2.0, spread=30.0)
    assert not varied.is_shown


def test_a_rise_is_as_good_as_a_fall():
    raised = _verdict(-2.0)
    assert raised.is_shown
    assert "raises the logit difference by" in verdict_sentences(raised)[0]


def test_groups_share_a_false_discovery_rate():
    """One group with an effect, nine of noise: rarely more is found, where single p-values find more."""
    random = np.random.default_rng(2)
    false, alone, true = 0, 0, 0
    for _ in range(30):
        rows = []
        for group in range(10):
            for n in range(6):
                drawn = random.normal(0, 1, MANY)
                own = 6.0 if group == 0 else random.normal()
                rows.append(_outcome(100 * group + n, own, drawn, f"g{group}"))
        found = verdicts(rows, {})
        true += found[0].q_value <= 0.05
        false += any(verdict.q_value <= 0.05 for verdict in found[1:])
        alone += any(verdict.kinds["matched"].p_value <= 0.05 for verdict in found[1:])
    assert true == 30
    assert false <= 5
    assert alone >= 8
    assert found[0].left_out == 0
    assert found[0].kinds["matched"].p_value == pytest.approx(2 / (MANY + 1))
