"""Enrichment, supernodes, matches and verdicts hold their rates where simpler tests do not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.benchmark.evidence import enrichment, matches, necessity, supernodes


@pytest.mark.parametrize("kind", enrichment.KINDS)
def test_noise_labels_of_whole_clusters(kind: str) -> None:
    labelings = 12
    prompts = enrichment.draw_prompts(kind)
    found = enrichment.realised(prompts, prompts.clusters, labelings)
    # Of so few labelings, one more than the rate allows may have a false discovery.
    assert found.rate <= enrichment.RATE + 1 / labelings
    assert found.found > 0.8
    alone = enrichment.realised(prompts, np.arange(len(prompts.clusters)), labelings)
    if kind == "prompt":
        assert alone == found  # the competitor does as well where prompts are independent
    else:
        assert alone.rate > 0.2


def test_supernodes_of_noise_are_not_stable_and_planted_ones_are() -> None:
    by_text, by_prompt = supernodes.rows(6)
    false, any_false, rate, found = map(float, by_text[2:])
    assert (false, any_false) == (0, 0)
    assert rate <= enrichment.RATE + 1 / 6
    assert found > 0.8
    # The competitor meets every text again on the prompts that it holds out.
    drawn = [supernodes.draw_profiles(seed, planted=False) for seed in range(12)]
    singles = [supernodes.find(each, np.arange(each.prompts)).false for each in drawn]
    assert sum(singles) > sum(supernodes.find(each, each.clusters).false for each in drawn)
    assert by_prompt[0] == by_text[0]


def test_detectors_of_tokens_do_not_match_and_copies_do() -> None:
    within = matches.match_drawn(0, within_token=True)
    anyhow = matches.match_drawn(0, within_token=False)
    assert within.copies == anyhow.copies == matches.COPIES
    assert within.false <= 0.03 * matches.FEATURES
    assert anyhow.false > 3 * within.false


def test_verdicts_on_graphs_that_repeat_one_another() -> None:
    none, half = necessity.judged(0.0, 40), necessity.judged(0.5, 40)
    assert (none["q-values"][:, 0] > 0).mean() <= enrichment.RATE + 1 / 40
    assert (none["p-values"][:, 0] > 0).mean() > 0.5
    false, true = half["q-values"].T
    assert (false / (false + true)).mean() <= enrichment.RATE + 1 / 40
    assert true.mean() > 0.95 * necessity.GRAPHS / 2
    assert half["p-values"][:, 0].mean() > false.mean()
