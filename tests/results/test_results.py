from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline import Results
from pipeline.errors import QueryError, StoreError
from pipeline.store.aggregate_info import SupernodesInfo
from pipeline.store.aggregate_results import AggregateResult
from pipeline.store.output import Output
from schemas import AGGREGATE_TABLES, TABLES, VALIDATION_TABLES
from tests.support.nights import night
from tests.support.stores import SELDOM_ON_S3

EDGES = 300
"""Edges of every prompt."""


def count(results: Results, table: str = "graphs") -> int:
    return results.sql(f"select count(*) from {table}").fetchall()[0][0]


def test_every_way_of_asking_gives_the_same_rows(two_nights: Output) -> None:
    results = Results(two_nights)
    for table in TABLES:
        expected = two_nights.dataset(table).to_table()
        assert results.dataset(table).to_table().equals(expected)
        assert results.relation(table).to_arrow_table().num_rows == expected.num_rows
        assert results.lazy_frame(table).collect().height == expected.num_rows
    strong = {
        results.sql("select count(*) from edges where weight > 1").fetchall()[0][0],
        results.relation("edges").filter("weight > 1").count("*").fetchall()[0][0],
        len(results.dataset("edges").to_table(filter=pc.field("weight") > 1)),
        results.lazy_frame("edges").filter(polars.col("weight") > 1).collect().height,
    }
    assert len(strong) == 1
    assert 0 < strong.pop() < 5 * EDGES


def test_it_opens_a_url(two_nights: Output) -> None:
    assert count(Results(two_nights.url)) == 5


@SELDOM_ON_S3
def test_answers_fit_together_while_a_sweep_goes_on(growing: Output) -> None:
    results = Results(growing)
    night(growing, range(5, 7))
    assert (count(results), count(results, "edges")) == (5, 5 * EDGES)
    assert count(Results(growing)) == 7


def test_a_version_is_what_was_published_then(two_nights: Output) -> None:
    results = Results(two_nights)
    assert [count(results.at(0)), count(results.at("1")), count(Results(two_nights, 1))] == [3, 5, 5]
    assert count(results.at(0), "edges") == 3 * EDGES
    assert list(results.versions()) == [0, 1]


@SELDOM_ON_S3
def test_a_date_is_its_last_version(two_nights: Output) -> None:
    results = Results(two_nights)
    first, second = results.versions().values()
    moments = [first, second, second + timedelta(days=1), first.isoformat(), f"{second:%Y-%m-%d}", date.max]
    assert [count(results.at(moment)) for moment in moments] == [3, 5, 5, 3, 5, 5]
    naive = second.replace(tzinfo=None)
    assert count(results.at(naive)) == 5


@SELDOM_ON_S3
@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (2, r"has no version 2; there are 0 \(20\d\d-.* UTC\), 1 \(.*\)\."),
        (-1, "has no version -1"),
        ("2020-01-01", r"had no version yet on 2020-01-01; there are 0 \("),
        (datetime(2020, 1, 1, tzinfo=UTC), "had no version yet"),
        ("yesterday", "'yesterday' is neither a version nor a date: give a number, a day such as"),
    ],
)
def test_a_state_that_never_was(two_nights: Output, moment: object, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Results(two_nights, moment)


def test_an_output_that_published_nothing_has_no_states(output: Output) -> None:
    output.claim({}, -7)
    assert count(Results(output)) == 0
    with pytest.raises(StoreError, match="has no published version yet"):
        Results(output, 0)


def test_an_output_that_is_none(output: Output) -> None:
    with pytest.raises(StoreError, match="holds no sweep"):
        Results(output)


def test_compaction_is_a_version_and_a_vacuum_ends_those_before(growing: Output) -> None:
    growing.compact()
    results = Results(growing)
    assert [count(results.at(version), "edges") for version in range(3)] == [900, 1500, 1500]
    growing.vacuum()
    assert count(results.at(2), "edges") == 1500
    with pytest.raises(StoreError, match=r"version 1 of .* was vacuumed, .*: version 2 is the first that is"):
        results.at(1)


@SELDOM_ON_S3
def test_what_duckdb_refuses_is_said_in_its_words(two_nights: Output) -> None:
    results = Results(two_nights)
    with pytest.raises(QueryError, match=r"syntax error at or near \"selct\""):
        results.sql("selct 1")
    with pytest.raises(QueryError, match=r"(?s)nope.*Candidate bindings"):
        results.sql("select nope from graphs")


@SELDOM_ON_S3
@pytest.mark.parametrize("ask", ["dataset", "relation", "lazy_frame"])
def test_a_table_that_does_not_exist_is_named(two_nights: Output, ask: str) -> None:
    with pytest.raises(StoreError, match="no such table: egdes; there are graphs"):
        getattr(Results(two_nights), ask)("egdes")


@SELDOM_ON_S3
def test_lazy_frames_without_polars(two_nights: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(QueryError, match=r"pip install 'circuit-sweep\[polars\]'"):
        Results(two_nights).lazy_frame("edges")


def test_asking_waits_for_neither_torch_nor_ray() -> None:
    code = (
        "import sys\nfrom pipeline import Results\nassert not {'torch', 'ray', 'polars'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@SELDOM_ON_S3
def test_a_validation_stands_beside_the_sweep(growing: Output) -> None:
    beside = Output(f"{growing.url}/validation", VALIDATION_TABLES)
    beside.claim({}, 5)
    keys = growing.dataset("graphs").to_table()["prompt_key"].to_pylist()
    schema = VALIDATION_TABLES["faithfulness"].schema
    empty = {"int64": 0, "int32": 0, "double": 0.5, "float": 0.5, "string": "x", "bool": True}
    row = {field.name: empty.get(str(field.type)) for field in schema} | {"prompt_key": keys[0]}
    row |= {field.name: 0 for field in schema if str(field.type).startswith("timestamp")}
    beside.commit("0" * 32, {"faithfulness": pa.Table.from_pylist([row], schema)})
    sql = "select graphs.id from graphs join faithfulness using (prompt_key)"
    assert len(Results(growing).sql(sql).fetchall()) == 1
    assert count(Results(growing), "validation_failures") == 0
    with pytest.raises(QueryError, match="faithfulness"):
        Results(growing, 0).sql(sql)


@SELDOM_ON_S3
def test_what_was_mined_last_stands_beside_the_sweep(growing: Output) -> None:
    def mine(seed: int, features: range) -> None:
        result = AggregateResult.of(growing.snapshot(), "supernodes", {"seed": seed})
        schema = AGGREGATE_TABLES["supernodes"].schema
        alone = {"supernode": 0, "layer": 0, "members": 1, "stability": 1.0, "is_stable": False}
        rows = pa.Table.from_pylist([alone | {"feature": feature} for feature in features], schema)
        rows = rows.drop_columns("grouped_by")
        result.commit(
            {"supernodes": [result.write("supernodes", rows, 0)]},
            SupernodesInfo(features=7, prompts=3, held_out=0, ways=()),
        )

    mine(0, range(7))
    mine(1, range(3))
    results = Results(growing)
    assert count(results, "supernodes") == 3
    assert results.sql("select * from supernodes join nodes using (layer, feature)") is not None
    with pytest.raises(QueryError, match="supernodes"):
        count(results.at(1), "supernodes")


@pytest.mark.parametrize(
    ("table", "command"), [("labels", "notes"), ("runs", "view"), ("circuits", "discover")]
)
def test_a_table_that_is_not_there_names_its_command(tmp_path: Path, table: str, command: str) -> None:
    output = Output(tmp_path / "out")
    night(output, range(3))
    with pytest.raises(QueryError, match=f"the table {table} is not there yet.*`circuit-sweep {command} "):
        Results(output).sql(f"select * from {table}")
