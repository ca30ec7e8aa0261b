"""Features that were planted to act together are found together, and noise stays alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.aggregates.supernodes.supernodes import Clustering, agreement, find_supernodes
from pipeline.errors import ConfigurationError
from pipeline.store.output import Output
from tests.compare.test_diff import altered
from tests.support.outputs import write_output

GROUPS, SIZE, ALONE = 4, 6, 10
"""Planted supernodes, their features, and features that are active anywhere."""


def planted(output: Output, url: Path) -> Output:
    """The prompts of an output, with features that go by family, and edges to a target of their own."""
    random = np.random.default_rng(0)

    def rows(prompt: dict) -> tuple[list[dict], list[dict]]:
        family = "abcd".index(prompt["family"])
        features = [family * SIZE + i for i in range(SIZE) if random.random() < 0.9]
        features += [GROUPS * SIZE + i for i in range(ALONE) if random.random() < 0.3]
        key = {"prompt_key": prompt["prompt_key"]}
        place = {"layer": 1, "position": 2}
        active = [key | place | {"feature": f, "activation": 1 + random.random()} for f in features]
        ends = {"source_kind": "feature", "source_layer": 1, "source_position": 2, "target_kind": "logit"}
        ends |= {"target_layer": 4, "target_position": 7}
        number = {f: family if f < GROUPS * SIZE else 100 + f for f in features}
        edges = [
            key | ends | {"source_feature": f, "target_feature": number[f], "weight": 1.0, "influence": 0.1}
            for f in features
        ]
        return active, edges

    def alter(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        made = [rows(prompt) for prompt in tables["graphs"].to_pylist()]
        active, edges = ([row for part in parts for row in part] for parts in zip(*made, strict=True))
        nodes = [row | {"kind": "feature", "influence": 0.1, "cumulative_influence": 0.5} for row in active]
        values = {"activations": active, "nodes": nodes, "edges": edges}
        schemas = {name: tables[name].schema for name in values}
        return tables | {n: pa.Table.from_pylist(v, schema=schemas[n]) for n, v in values.items()}

    return altered(output, url, alter)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return planted(write_output(tmp_path / "random", range(60), list("abcd")), tmp_path / "planted")


def test_planted_supernodes_are_found_stable_and_pure(output: Output) -> None:
    mined = find_supernodes(output.url, Clustering("family", min_similarity=0.5, resamples=5))
    rows = mined.dataset("supernodes").to_table().to_pylist()
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
    found = mined.manifest().info["agreement"]
    assert found["adjusted_rand"] == found["purity"] == 1.0
    assert found["purity_by_chance"] < 0.6


def test_no_classes_no_agreement() -> None:
    assert agreement(np.array([0, 0, 1]), None) is None
    assert agreement(np.array([0, 0, 1]), [None, None, None]) is None


def test_features_that_no_graph_keeps_often_enough(output: Output) -> None:
    with pytest.raises(ConfigurationError, match="no feature is kept in 100 graphs"):
        find_supernodes(output.url, Clustering(min_prompts=100))
