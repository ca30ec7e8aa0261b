"""Aggregates in tasks on Ray: however they are cut, they find the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ray

from pipeline.aggregates.aggregate import run_aggregate
from pipeline.aggregates.coactivation.coactivation import Coactivation
from pipeline.aggregates.groups import Grouping
from pipeline.aggregates.stats.group_statistics import GroupStatistics
from pipeline.aggregates.tasks import Tasks
from pipeline.errors import StoreError
from pipeline.store.aggregate_results import AggregateResult
from tests.support.outputs import altered, without_features, write_output


def rows(result: AggregateResult, table: str) -> list[tuple]:
    columns = ", ".join(result.dataset(table).schema.names)
    return result.duckdb().sql(f"select {columns} from {table} order by all").fetchall()


def assert_same(one: list[tuple], other: list[tuple]) -> None:
    assert len(one) == len(other) > 0
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert a == b or np.isclose(a, b, rtol=1e-9, atol=1e-12)


def test_many_parts_and_partitions_give_what_one_gives(address: str, tmp_path: Path) -> None:
    for name in ("one", "many"):
        write_output(tmp_path / name, range(16), ["a", "b"], features=300)
    one = run_aggregate(
        str(tmp_path / "one"), GroupStatistics(Grouping("family"), fdr=1.0, min_support=2), address
    )
    cut = GroupStatistics(Grouping("family"), fdr=1.0, min_support=2, part_bytes=1)
    many = run_aggregate(str(tmp_path / "many"), cut, address)
    assert len(many.manifest().files["edge_stats"]) == 4
    assert many.manifest().info.tests == one.manifest().info.tests
    for table in ("feature_stats", "edge_stats", "feature_enrichment", "edge_enrichment"):
        assert_same(rows(one, table), rows(many, table))
    pairs = [
        run_aggregate(str(tmp_path / name), Coactivation(Grouping(), 2, part_bytes=size), address)
        for name, size in (("one", 1 << 20), ("many", 1))
    ]
    assert_same(*(rows(result, "feature_pairs") for result in pairs))


def test_what_goes_wrong_in_a_task_reaches_the_user_as_it_is(address: str, tmp_path: Path) -> None:
    write_output(tmp_path / "output", range(4), ["a"])
    (tmp_path / "output" / "_aggregates").write_text("a file where a folder is needed")
    with pytest.raises(StoreError, match=r"cannot write .*move it away"):
        run_aggregate(str(tmp_path / "output"), GroupStatistics(Grouping("family")), address)


def test_tokens_and_columns_as_strata_however_the_rows_are_cut(address: str, tmp_path: Path) -> None:
    for name in ("one", "many"):
        write_output(tmp_path / name, range(16), ["a", "b"], features=300)
    for settings in ({"within_token": True}, {"within": "prompt_key % 2"}, {"cluster": "prompt_key % 7"}):
        kind = {"fdr": 1.0, "min_support": 1, "within_token": settings.get("within_token", False)}
        columns = {name: value for name, value in settings.items() if name != "within_token"}
        found = [
            run_aggregate(
                str(tmp_path / name),
                GroupStatistics(Grouping("family", **columns), **kind, part_bytes=size),
                address,
            )
            for name, size in (("one", 1 << 20), ("many", 1))
        ]
        for table in ("feature_enrichment", "edge_enrichment"):
            assert_same(*(rows(result, table) for result in found))
            shares = found[0].dataset(table).to_table()["token_share"].to_pylist()
            assert all(0 < share <= 1 for share in shares)


def test_a_dictionary_that_never_fires_has_tables_without_rows(address: str, tmp_path: Path) -> None:
    silent = altered(
        write_output(tmp_path / "output", range(8), ["a", "b"]), tmp_path / "silent", without_features
    )
    for aggregate in (
        GroupStatistics(Grouping("family")),
        GroupStatistics(Grouping("family"), within_token=True),
        Coactivation(Grouping()),
    ):
        result = run_aggregate(silent.url, aggregate, address)
        tables = result.manifest().files
        assert tables
        assert not any(result.dataset(table).count_rows() for table in tables if not table.startswith("edge"))


def test_no_ray_is_started_where_there_is_nothing_to_wait_for(address: str) -> None:
    with Tasks(address) as tasks:
        assert tasks.get([]) == []
        assert ray.is_initialized()  # the one that was named
    assert not ray.is_initialized()
