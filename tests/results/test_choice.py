from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline import Results
from pipeline.results.choice import ProjectionChoice
from pipeline.store.compaction.projections import PROJECTIONS
from pipeline.store.output import Output
from schemas import TABLES
from tests.support.stores import SELDOM_ON_S3

SOURCE, TARGET = {"edges": "edges_by_source"}, {"edges": "edges_by_target"}
NODES, ACTIVATIONS = {"nodes": "nodes_by_feature"}, {"activations": "activations_by_feature"}


@pytest.fixture(scope="module")
def choice() -> ProjectionChoice:
    return ProjectionChoice({name: table.schema for name, table in TABLES.items()})


@pytest.mark.parametrize(
    ("sql", "chosen"),
    [
        ("select * from edges where source_layer = 3 and source_feature = 7", SOURCE),
        ("select sum(weight) from edges where target_feature in (3, 9, 12)", TARGET),
        ("select * from (select * from edges) e where e.source_feature between 3 and 5", SOURCE),
        ("with x as (select * from edges) select * from x where target_feature = 3 limit 4", TARGET),
        ("select * from nodes where kind = 'feature' and feature = 3", NODES),
        ("select * from nodes n join activations a using (prompt_key) where a.feature = 3", ACTIVATIONS),
        (
            "select * from edges e join nodes n using (prompt_key) where target_feature = 3 and feature = 4",
            TARGET | NODES,
        ),
        ("select * from edges where source_feature = 3 and prompt_key = 5", {}),
        ("select * from edges where source_kind = 'feature'", {}),
        ("select * from nodes where kind = 'feature'", {}),
        ("select * from edges where weight > 3", {}),
        ("select source_feature, count(*) from edges group by source_feature", {}),
        ("select * from nodes join edges on nodes.feature = edges.source_feature", {}),
        ("select * from graphs where text = 'feature'", {}),
        ("select * from mine where feature = 3", {}),
        ("select 1; select * from nodes where feature = 3", {}),
        ("create table x as select * from nodes where feature = 3", {}),
        ("no sql at all", {}),
    ],
)
def test_the_copy_that_a_query_filters_on(choice: ProjectionChoice, sql: str, chosen: dict[str, str]) -> None:
    assert choice.choose(sql, PROJECTIONS) == chosen


def test_a_copy_that_was_never_written_is_not_chosen(choice: ProjectionChoice) -> None:
    assert choice.choose("select * from nodes where feature = 3", ["edges_by_source"]) == {}


QUERIES = [
    "select * from edges where source_kind = 'feature' and source_feature % 7 = 3",
    "select * from edges where target_feature > 500",
    "select * from nodes where feature < 100",
    "select n.* from nodes n join activations a using (prompt_key) where a.feature between 30 and 60",
    "select * from activations where layer = 2 and feature between 100 and 300",
]


@SELDOM_ON_S3
def test_answers_stay_the_same(growing: Output, make_night: Callable[[Output, range], None]) -> None:
    before = [sorted(map(str, Results(growing).sql(query).fetchall())) for query in QUERIES]
    assert all(before)
    growing.compact()
    results = Results(growing)
    assert [sorted(map(str, results.sql(query).fetchall())) for query in QUERIES] == before
    used = {copy for chosen in results._connections for _, copy in chosen}
    assert used == set(PROJECTIONS)


@SELDOM_ON_S3
def test_what_came_after_a_compaction_is_found_too(
    growing: Output, make_night: Callable[[Output, range], None]
) -> None:
    growing.compact()
    make_night(growing, range(5, 7))
    query = "select count(*) from edges where coalesce(source_feature, 0) >= 0"
    assert Results(growing).sql(query).fetchall() == [(7 * 300,)]


@SELDOM_ON_S3
def test_tables_of_the_users_own_are_seen_whatever_copy_answers(growing: Output) -> None:
    growing.compact()
    results = Results(growing)
    results.sql(
        "create table mine as select distinct source_feature as f from edges where source_feature > 500"
    )
    query = "select count(*) from edges where source_feature in (select f from mine)"
    plain = "select count(*) from edges where source_feature > 500"
    assert results.sql(query).fetchall() == results.sql(plain).fetchall()
