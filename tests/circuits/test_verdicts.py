"""What runs come to: planted effects are shown, chance is not, and clusters are the observations."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs._circuit_report import few_draws
from pipeline.circuits.settings import Settings
from pipeline.circuits.testing import verdict_rows
from pipeline.circuits.testing.verdicts import Ratio, rank
from schemas import CIRCUIT_RUN_TABLES

DRAWS = 99


def _effects(prompts: int, lost: float, spread: float, seed: int, stake: float = 10.0, circuit: str = "a#1"):
    """Runs in which a circuit costs `lost` of the stake, and drawn sets what chance gives."""
    random = np.random.default_rng(seed)
    of_draw = random.normal(0, spread, DRAWS)
    rows = []
    for prompt in range(prompts):

        def entry(kind: str, draw: int, share: float) -> dict:
            named = {"circuit": circuit, "test": "necessity", "mode": "default", "set": kind, "draw": draw}
            return named | {"features": 3, "value": share * stake, "stake": stake, "flipped": False}

        entries = [entry("circuit", 0, lost + random.normal(0, 0.02))]
        entries += [entry("matched", draw, of_draw[draw] + random.normal(0, 0.02)) for draw in range(DRAWS)]
        rows.append({"prompt_key": prompt, "id": str(prompt), "clean": stake, "effects": entries})
    return pa.Table.from_pylist(rows, CIRCUIT_RUN_TABLES["circuit_effects"].schema)


def _verdict(effects: pa.Table, clusters: dict[int, int] | None = None) -> tuple[dict, dict]:
    clusters = clusters or {prompt: prompt for prompt in range(effects.num_rows)}
    own, matched = verdict_rows(effects, clusters, {}, Settings())
    return own, matched


def test_a_planted_effect_is_shown():
    own, matched = _verdict(_effects(12, lost=0.8, spread=0.1, seed=0))
    assert own["value"] == pytest.approx(0.8, abs=0.02)
    assert own["low"] < 0.8 < own["high"]
    assert matched["is_shown"]
    assert matched["q_value"] == pytest.approx(2 / (DRAWS + 1))


def test_a_circuit_that_is_one_of_the_draws_is_rarely_shown():
    random = np.random.default_rng(0)
    shown = [
        _verdict(_effects(12, lost=float(random.normal(0, 0.1)), spread=0.1, seed=seed))[1]["is_shown"]
        for seed in range(60)
    ]
    assert sum(shown) <= 6  # 5% are expected, on either side of the draws half of them


def test_repeated_prompts_narrow_no_interval():
    effects = _effects(12, lost=0.8, spread=0.1, seed=0)
    own, _ = _verdict(effects, {prompt: prompt // 6 for prompt in range(12)})
    assert own["clusters"] == 2
    assert own["high"] - own["low"] > _verdict(effects)[0]["high"] - _verdict(effects)[0]["low"]
    alone, matched = _verdict(effects, dict.fromkeys(range(12), 0))
    assert (alone["low"], alone["high"], matched["is_shown"]) == (None, None, False)


def test_nothing_at_stake_is_no_observation():
    assert verdict_rows(_effects(5, 0.8, 0.1, 0, stake=0.05), {p: p for p in range(5)}, {}, Settings()) == []


def test_a_ratio_is_of_all_that_is_lost_over_all_that_is_at_stake():
    lost, stake = np.array([1.0, 9.0, -0.4]), np.array([1.0, 10.0, 0.1])
    ratio = Ratio.of(lost, stake, np.arange(3))
    assert ratio.value == pytest.approx(9.6 / 11.1)
    assert ratio.low < ratio.value < ratio.high
    assert np.mean(lost / stake) < 0  # what shares of each prompt would say


def test_intervals_of_the_ratio_hold_what_they_say():
    random, covered = np.random.default_rng(0), 0
    for _ in range(300):
        stake = random.gamma(4, 2, 15)
        lost = 0.6 * stake + random.normal(0, 0.5, 15)
        ratio = Ratio.of(lost, stake, np.arange(15))
        covered += ratio.low < 0.6 < ratio.high
    assert covered / 300 > 0.91


def test_the_rank_is_two_sided():
    own, clusters = np.ones(4), np.arange(4)
    below = np.zeros((4, 99))
    assert rank(own, below, clusters) == pytest.approx(0.02)
    assert rank(-own, below, clusters) == pytest.approx(0.02)
    assert rank(0 * own, below, clusters) == 1.0


def test_few_draws_for_many_circuits_are_told():
    """The smallest p-value is 2 / (draws + 1): of ten circuits four must have it for one to be shown."""
    assert few_draws(99, 2, 0.05) is None  # 0.02 is below 0.05 / 2
    assert few_draws(39, 1, 0.05) is None
    assert few_draws(399, 10, 0.05) is None
    told = few_draws(99, 10, 0.05)
    assert told is not None
    assert "at least 4 of the 10 circuits" in told
    assert "--draws 399" in told
    assert "--draws 119" in (few_draws(99, 3, 0.05) or "")


def test_the_least_of_paraphrases_is_their_invariance():
    effects = _effects(6, lost=0.8, spread=0.1, seed=0)
    rows = verdict_rows(effects, {p: p for p in range(6)}, {0: "x", 1: "x", 2: "y", 3: "y"}, Settings())
    (invariance,) = [row for row in rows if row["test"] == "invariance"]
    assert (invariance["prompts"], invariance["clusters"]) == (4, 2)
    assert invariance["value"] < next(row for row in rows if row["against"] is None)["value"] + 0.01
