"""Circuits that `discover` found, as the page lists and draws them; from planted tables."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import CircuitSweepError
from pipeline.results import Results
from pipeline.store import AggregateResult, PairsInfo, current_aggregates
from schemas import AGGREGATE_TABLES
from tests.support.viewers import Answers

NODES = [
    ("feature", 0, 7, "subject"),
    ("feature", 1, 3, "last"),
    ("feature", 1, 4, "mine"),
    ("logit", 4, None, "last"),
]
EDGES = [(0, 1, 0.5, 1, 0.75), (1, 3, 0.25, -1, 1.0), (2, 3, 0.125, 1, 0.5)]
"""Source, target, share, sign, support."""


def rows(table: str, given: list[dict[str, Any]]) -> pa.Table:
    """Rows of a table with 0 and empty texts where nothing is given."""
    schema = AGGREGATE_TABLES[table].schema
    blank = {
        field.name: None
        if field.nullable
        else []
        if pa.types.is_list(field.type)
        else ""
        if pa.types.is_string(field.type)
        else 0
        for field in schema
        if field.name != "grouped_by"
    }
    columns = {name: [(blank | row)[name] for row in given] for name in blank}
    return pa.table(columns, pa.schema([field for field in schema if field.name != "grouped_by"]))


@pytest.fixture
def ask(random_output):
    ends = ("kind", "layer", "feature", "role")
    named = [dict(zip(ends, node, strict=True)) for node in NODES]
    edges = [
        {f"source_{name}": value for name, value in named[source].items()}
        | {f"target_{name}": value for name, value in named[target].items()}
        | {"circuit": "a#1", "share": share, "sign": sign, "support": support, "sign_consistency": 0.9}
        for source, target, share, sign, support in EDGES
    ]
    tests = [
        {
            "circuit": "a#1",
            "test": "necessity",
            "mode": "default",
            "value": 0.6,
            "low": 0.5,
            "high": 0.7,
            "clusters": 9,
        },
        {"circuit": "a#1", "test": "necessity", "mode": "open", "value": 0.1},
        {"circuit": "a#1", "test": "necessity", "mode": "default", "against": "matched", "value": 0.2},
    ]
    circuits = [
        {
            "circuit": name,
            "prompt_group": name[0],
            "name": f"way of {name}",
            "clusters": clusters,
            "prompts": 8,
        }
        for name, clusters in (("a#1", 6), ("a#2", 3))
    ]
    nodes = [
        node | {"circuit": "a#1", "support": 0.5, "share": 0.25, "supernode_name": "Texas"} for node in named
    ]
    result = AggregateResult.of(Results(random_output.url).snapshot, "circuits", {}, "family")
    planted = {"circuits": circuits, "circuit_nodes": nodes, "circuit_edges": edges, "circuit_tests": tests}
    result.commit(
        {table: [result.write(table, rows(table, given), 0)] for table, given in planted.items()},
        PairsInfo(positions=0),
    )
    return Answers(random_output.url)


def test_they_are_listed_with_their_own_test(ask):
    first, second = ask("/api/circuits")["rows"]
    assert (first["circuit"], first["name"], first["clusters"]) == ("a#1", "way of a#1", 6)
    assert first["necessity"] == {"value": 0.6, "low": 0.5, "high": 0.7, "clusters": 9}
    assert first["sufficiency"] is None
    assert second["necessity"] is None


def test_tests_are_shown_only_beside_the_circuits_that_they_tested(random_output):
    url = random_output.url
    snapshot = Results(url).snapshot

    def commit(name: str, identity: dict[str, Any], table: str, given: dict[str, Any]) -> AggregateResult:
        result = AggregateResult.of(snapshot, name, identity, "family")
        written = result.write(table, rows(table, [given | {"circuit": "a#1"}]), 0)
        result.commit({table: [written]}, PairsInfo(positions=0))
        return result

    def tests() -> list[float]:
        tables = current_aggregates(random_output.folder)
        return tables["circuit_tests"].to_table()["value"].to_pylist() if "circuit_tests" in tables else []

    first = commit("circuits", {"min_share": 0.01}, "circuits", {})
    commit("circuit_tests", {"found": first.key}, "circuit_tests", {"value": 0.25})
    assert tests() == [0.25]
    second = commit("circuits", {"min_share": 0.05}, "circuits", {})
    assert tests() == []
    commit("circuit_tests", {"found": second.key}, "circuit_tests", {"value": 0.5})
    assert tests() == [0.5]
    first.mark_current()
    assert tests() == [0.25]
    commit("known_circuits", {}, "circuits", {})
    assert tests() == []


def test_one_is_drawn_by_its_roles(ask):
    found = ask("/api/circuit", circuit="a#1")
    assert found["places"] == {"0": "last", "1": "subject", "2": "mine"}
    nodes = [(node["kind"], node["layer"], node["feature"], node["from_end"]) for node in found["nodes"]]
    place = {"last": 0, "subject": 1, "mine": 2}
    kinds = {"feature": 0, "logit": 3}
    expected = [(kinds[kind], layer, feature, place[role]) for kind, layer, feature, role in NODES]
    assert sorted(nodes, key=str) == sorted(expected, key=str)
    edges = {
        (nodes[edge["source"]], nodes[edge["target"]]): (edge["weight"], edge["share"])
        for edge in found["edges"]
    }
    assert edges == {
        (expected[source], expected[target]): (share * sign, support)
        for source, target, share, sign, support in EDGES
    }
    assert [edge["score"] for edge in found["edges"]] == sorted((edge[2] for edge in EDGES), reverse=True)
    with pytest.raises(CircuitSweepError, match="no circuit is called 'b#1'"):
        ask("/api/circuit", circuit="b#1")


def test_without_any_the_command_is_named(random_output):
    found = Answers(random_output.url)("/api/circuits")
    assert found["rows"] == []
    assert "circuit-sweep discover" in found["command"]
