"""Features that were planted to act together are found together, and noise is not called stable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.aggregates.aggregate import run_aggregate
from pipeline.aggregates.groups import Grouping
from pipeline.aggregates.supernodes.held_out import Way, held_out_prompts, q_values, stability
from pipeline.aggregates.supernodes.profiles import Block, Profiles
from pipeline.aggregates.supernodes.supernodes import Supernodes, agreement
from pipeline.errors import ConfigurationError
from pipeline.store.output import Output
from tests.support.outputs import write_output
from tests.support.planted_supernodes import GROUPS, SIZE, planted


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return planted(write_output(tmp_path / "random", range(60), list("abcd")), tmp_path / "planted")


def test_planted_supernodes_are_found_stable_and_pure(output: Output) -> None:
    result = run_aggregate(output.url, Supernodes(Grouping("family"), resamples=5))
    rows = result.dataset("supernodes").to_table().to_pylist()
    for family in range(GROUPS):
        members = [row for row in rows if row["feature"] // SIZE == family and row["feature"] < GROUPS * SIZE]
        assert len({row["supernode"] for row in members}) == 1
        assert all(row["members"] == SIZE and row["prompt_group"] == "abcd"[family] for row in members)
        assert min(row["stability"] for row in members) > 0.75
        assert all(row["is_stable"] and row["q_value"] <= 0.05 for row in members)
        assert min(row["similarity"] for row in members) > 0.3
    others = [row for row in rows if row["feature"] >= GROUPS * SIZE]
    assert not any(row["is_stable"] or row["prompt_group"] for row in others)
    assert all((row["members"] == 1) == (row["similarity"] is None) for row in others)
    info = result.manifest().info
    assert {way.profile for way in info.ways} == {"activity", "activity, drivers and driven"}
    assert (info.prompts, info.held_out) == (60, 30)
    found = info.ways[0].agreement
    assert found.adjusted_rand == found.purity == 1.0
    assert found.purity_by_chance < 0.6


def test_what_is_found_and_what_it_is_held_against_share_no_cluster() -> None:
    clusters = np.repeat(np.arange(31), 3)
    unseen = held_out_prompts(clusters)
    assert not set(clusters[unseen]) & set(clusters[~unseen])
    assert len(set(clusters[unseen])) == 15
    with pytest.raises(ConfigurationError, match="3 clusters of prompts are too few to split: 4 are"):
        held_out_prompts(np.repeat(np.arange(3), 20))


def test_features_that_are_active_everywhere_are_found_again_but_not_stable() -> None:
    random = np.random.default_rng(0)
    items, prompts = 30, 80
    on = random.random((items, prompts)) < 0.85
    on[:6] = random.random(prompts) < 0.85  # these do go together
    item, prompt = np.nonzero(on)
    block = Block(item, prompt, prompt, np.ones(len(item)), prompts, True)
    profiles = Profiles(np.zeros((items, 2), int), np.arange(prompts), {"active": block})
    unseen = held_out_prompts(profiles.clusters)
    way = Way("activity", 0.5)
    everything = way.find(profiles, (~unseen).astype(float))
    found_again = stability(profiles, everything, way, unseen, 5)
    assert (found_again == 1).all()  # the simpler test: one large supernode, in any data
    clusters = np.where(np.arange(items) < 6, 1, 0)
    independent, together = q_values(profiles, clusters, np.ones(2), unseen)
    assert together <= 0.05 < independent


def test_no_classes_no_agreement() -> None:
    assert agreement(np.array([0, 0, 1]), None) is None
    assert agreement(np.array([0, 0, 1]), [None, None, None]) is None


def test_classes_whose_features_are_all_alone_have_a_purity_of_0() -> None:
    found = agreement(np.array([0, 1, 2]), ["a", "b", None])
    assert (found.not_alone, found.purity, found.purity_by_chance) == (0.0, 0.0, 0.0)


def test_features_that_no_graph_keeps_often_enough(output: Output) -> None:
    with pytest.raises(ConfigurationError, match="no feature is kept in 100 graphs"):
        run_aggregate(output.url, Supernodes(min_prompts=100))
