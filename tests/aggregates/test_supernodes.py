"""Features that were planted to act together are found together, and noise stays alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.aggregates.aggregate import run_aggregate
from pipeline.aggregates.groups import Grouping
from pipeline.aggregates.supernodes.supernodes import Supernodes, agreement
from pipeline.errors import ConfigurationError
from pipeline.store.output import Output
from tests.support.outputs import write_output
from tests.support.planted_supernodes import GROUPS, SIZE, planted


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return planted(write_output(tmp_path / "random", range(60), list("abcd")), tmp_path / "planted")


def test_planted_supernodes_are_found_stable_and_pure(output: Output) -> None:
    result = run_aggregate(output.url, Supernodes(Grouping("family"), min_similarity=0.5, resamples=5))
    rows = result.dataset("supernodes").to_table().to_pylist()
    for family in range(GROUPS):
        members = [row for row in rows if row["feature"] // SIZE == family and row["feature"] < GROUPS * SIZE]
        assert len({row["supernode"] for row in members}) == 1
        assert all(row["members"] == SIZE and row["prompt_group"] == "abcd"[family] for row in members)
        assert min(row["stability"] for row in members) > 0.9
        assert min(row["similarity"] for row in members) > 0.5
    others = [row for row in rows if row["feature"] >= GROUPS * SIZE]
    assert all(
        row["members"] == 1 and row["similarity"] is None and row["prompt_group"] is None for row in others
    )
    found = result.manifest().info.agreement
    assert found.adjusted_rand == found.purity == 1.0
    assert found.purity_by_chance < 0.6


def test_no_classes_no_agreement() -> None:
    assert agreement(np.array([0, 0, 1]), None) is None
    assert agreement(np.array([0, 0, 1]), [None, None, None]) is None


def test_classes_whose_features_are_all_alone_have_a_purity_of_0() -> None:
    found = agreement(np.array([0, 1, 2]), ["a", "b", None])
    assert (found.not_alone, found.purity, found.purity_by_chance) == (0.0, 0.0, 0.0)


def test_features_that_no_graph_keeps_often_enough(output: Output) -> None:
    with pytest.raises(ConfigurationError, match="no feature is kept in 100 graphs"):
        run_aggregate(output.url, Supernodes(min_prompts=100))
