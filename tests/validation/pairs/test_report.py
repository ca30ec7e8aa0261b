"""What is claimed of pairs: planted effects are found, dependent rows without one are not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.paired_differences import FALSE_DISCOVERY_RATE, sign_flip_p_value
from pipeline.validation.pairs.report import FeatureReport, _features

FEATURES, CLUSTERS, EACH = 30, 12, 4
PLANTED = 3


def effects(random: np.random.Generator, shift: float, by_prompt: bool = False) -> pa.Table:
    """Rows of `pair_effects` in which a cluster's prompts say the same; the first features have an effect."""
    feature = np.repeat(np.arange(FEATURES), CLUSTERS * EACH)
    cluster = np.tile(np.repeat(np.arange(CLUSTERS), EACH), FEATURES)
    own = random.normal(size=(FEATURES, CLUSTERS)) + shift * (np.arange(FEATURES) < PLANTED)[:, None]
    held = own[feature, cluster] + 0.1 * random.normal(size=len(feature))
    if by_prompt:
        cluster = np.tile(np.arange(CLUSTERS * EACH), FEATURES)
    return pa.table(
        {
            "cluster": cluster,
            "layer": np.zeros(len(feature), int),
            "feature": feature,
            "position_from_end": np.zeros(len(feature), int),
            "held_recovered": held,
            "held_zero_recovered": np.zeros(len(feature)),
            "free_recovered": held,
        }
    )


def claimed(found: tuple[FeatureReport, ...]) -> set[int]:
    return {one.feature for one in found if one.q_value <= FALSE_DISCOVERY_RATE}


def test_planted_effects_are_found_and_little_else() -> None:
    found, untested = _features(effects(np.random.default_rng(0), shift=3.0))
    assert untested == 0
    assert claimed(found) >= set(range(PLANTED))
    assert len(claimed(found)) <= PLANTED + 1
    for one in found:
        assert one.held.low < one.held.value < one.held.high
        assert (one.clusters, one.prompts) == (CLUSTERS, CLUSTERS * EACH)


def test_prompts_of_one_cluster_are_one_observation() -> None:
    """Without an effect something is claimed in at most 5% of the cases; by single prompts nearly always."""
    by_cluster, by_prompt = 0, 0
    for seed in range(60):
        by_cluster += bool(claimed(_features(effects(np.random.default_rng(seed), 0.0))[0]))
        if seed < 10:
            by_prompt += bool(claimed(_features(effects(np.random.default_rng(seed), 0.0, True))[0]))
    assert by_cluster / 60 <= 0.1
    assert by_prompt / 10 >= 0.9


def test_features_on_few_clusters_are_counted_and_not_tested() -> None:
    rows = effects(np.random.default_rng(0), 3.0)
    found, untested = _features(rows.filter(pa.compute.less(rows["cluster"], 5)))
    assert (found, untested) == ((), FEATURES)


def test_nothing_was_patched() -> None:
    assert _features(effects(np.random.default_rng(0), 0.0)[:0]) == ((), 0)


@pytest.mark.parametrize(
    ("means", "p_value"), [([1.0] * 6, 2 / 64), ([0.0] * 6, 1.0), ([1.0, -1.0], 1.0), ([2.0, 1.0, 1.0], 0.25)]
)
def test_p_values_are_shares_of_sign_flips(means: list[float], p_value: float) -> None:
    assert sign_flip_p_value(np.array(means)) == pytest.approx(p_value)


def test_many_clusters_are_drawn_from() -> None:
    random = np.random.default_rng(0)
    assert sign_flip_p_value(random.normal(size=40) + 2) == pytest.approx(1e-4)
    assert sign_flip_p_value(random.normal(size=40)) > 0.05
