"""Features, circuits and SQL against brute force."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from pipeline.aggregates import Grouping, run_aggregate
from pipeline.aggregates.stats import GroupStatistics
from pipeline.errors import CircuitSweepError
from pipeline.results import Results
from pipeline.viewer.answers import sql
from pipeline.viewer.asked import Asked
from pipeline.viewer.questions import Question
from tests.support.viewers import Answers, served

FEATURE, ENDS = "/api/feature/{layer}/{feature}", "/api/feature/{layer}/{feature}/edges"


@pytest.fixture
def ask(random_output):
    return Answers(random_output.url)


@pytest.fixture
def results(random_output):
    return Results(random_output.url)


def busiest(results):
    return results.sql(
        "select layer, feature from nodes where kind = 'feature' group by all order by count(*) desc, 1, 2"
    ).fetchall()[0]


def test_a_feature_counts_what_the_tables_hold(ask, results):
    layer, number = busiest(results)
    found = ask(FEATURE, {"layer": str(layer), "feature": str(number)})
    rows = results.sql(
        f"select prompt_key, position, position_from_end, activation from activations "
        f"where layer = {layer} and feature = {number}"
    ).fetchall()
    assert found["stats"]["positions"] == len(rows) == sum(found["histogram"]["counts"])
    assert sum(found["profile"]["counts"]) == len(rows)
    assert found["stats"]["prompts"] == len({key for key, *_ in rows})
    by_prompt = defaultdict(dict)
    for key, position, _, activation in rows:
        by_prompt[str(key)][position] = activation
    examples = [example for band in found["examples"] for example in band["examples"]]
    for example in examples:
        acts = by_prompt[example["prompt_key"]]
        assert {p: a for p, a in enumerate(example["activations"]) if a} == acts
        assert example["activation"] == max(acts.values()) == acts[example["position"]]
    peaks = sorted((max(acts.values()) for acts in by_prompt.values()), reverse=True)
    assert [example["activation"] for example in examples][:10] == peaks[:10]


@pytest.mark.parametrize("end", ["source", "target"])
def test_ends_of_a_features_edges_are_summed_over_positions(ask, results, end):
    layer, number = busiest(results)
    other = "target" if end == "source" else "source"
    weights, scores = defaultdict(lambda: defaultdict(float)), defaultdict(float)
    for key, kind, at, feature, token, weight, influence in results.sql(
        f"select prompt_key, {end}_kind::varchar, {end}_layer, {end}_feature, {end}_token_id, weight, "
        f"influence from edges "
        f"where {other}_kind = 'feature' and {other}_layer = {layer} and {other}_feature = {number}"
    ).fetchall():
        weights[kind, at, feature, token][key] += weight
        scores[kind, at, feature, token] += influence
    found = ask(ENDS, {"layer": str(layer), "feature": str(number)}, end=end)["rows"]
    assert len(found) == min(50, len(weights))
    for row in found:
        name = (row["kind"], row["layer"], row["feature"], row["token_id"])
        values = list(weights[name].values())
        assert row["support"] == len(values)
        assert row["mean_weight"] == pytest.approx(np.mean(values))
        assert row["score"] == pytest.approx(scores[name])
        positive = sum(value > 0 for value in values)
        assert row["sign_consistency"] == max(positive, sum(v < 0 for v in values)) / len(values)


def test_features_come_by_influence(ask, results):
    found = ask("/api/features")["rows"]
    assert [row["influence"] for row in found] == sorted((row["influence"] for row in found), reverse=True)
    one = found[3]
    assert ask("/api/features", q=f"{one['layer']}/{one['feature']}")["rows"][0] in found
    kept = results.sql(
        f"select count(distinct prompt_key) from nodes where kind = 'feature' and layer = {one['layer']} "
        f"and feature = {one['feature']}"
    ).fetchall()
    assert kept == [(one["prompts"],)]


def circuit_of(found):
    names = [(node["kind"], node["layer"], node["feature"]) for node in found["nodes"]]
    numbers = ("support", "share", "weight", "score", "sign")
    return {
        (names[edge["source"]], names[edge["target"]]): [edge[name] for name in numbers]
        for edge in found["edges"]
    }


def test_a_circuit_of_a_family_is_edge_stats(random_output, address):
    at_once = Answers(random_output.url)("/api/circuit", label="a")
    run_aggregate(random_output.url, GroupStatistics(Grouping("family")), address)
    stored = Answers(random_output.url)("/api/circuit", label="a")
    assert (at_once["from"], stored["from"]) == ("edges", "edge_stats")
    assert circuit_of(stored).keys() == circuit_of(at_once).keys()
    for ends, values in circuit_of(stored).items():
        assert values == pytest.approx(circuit_of(at_once)[ends])
    for ours, theirs in zip(stored["nodes"], at_once["nodes"], strict=True):
        assert ours == pytest.approx(theirs)  # the order of a sum is that of threads


def test_a_circuit_of_one_prompt_is_its_graph_without_positions(ask, results):
    prompt_id = results.sql("select id from graphs order by kept_edges desc").fetchall()[0][0]
    found = ask("/api/circuit", keys=[prompt_id])
    edges, weight, influence = results.sql(
        f"select count(*), sum(weight::double), sum(influence::double) from edges where id = '{prompt_id}'"
    ).fetchall()[0]
    assert found["prompts"] == 1
    assert len(found["edges"]) == found["total_edges"] <= edges
    assert sum(edge["score"] for edge in found["edges"]) == pytest.approx(influence)
    assert sum(edge["weight"] for edge in found["edges"]) == pytest.approx(weight)
    assert {edge["support"] for edge in found["edges"]} == {1}


def test_prompts_of_a_circuit_are_chosen_by_name_or_feature(ask, results):
    layer, number = busiest(results)
    ids = [
        name
        for (name,) in results.sql(
            f"select distinct id from nodes where kind = 'feature' and layer = {layer} and feature = {number}"
        ).fetchall()
    ]
    by_feature = ask("/api/circuit", feature=f"{layer}/{number}")
    by_name = ask("/api/circuit", keys=",".join(ids))
    assert by_feature["prompts"] == by_name["prompts"] == len(ids)
    assert circuit_of(by_feature) == circuit_of(by_name)


def run(ask, query):
    state = ask.viewer.states.current
    with state.lent() as connections:
        return sql(Asked(ask.viewer, state, connections, Question(body={"sql": query})))


def test_sql_answers_in_rows(ask, results):
    found = run(ask, "select id, kept_nodes, kept_nodes from graphs order by id")
    assert found["rows"] == [
        list(row)
        for row in results.sql("select id, kept_nodes, kept_nodes from graphs order by id").fetchall()
    ]
    assert not found["truncated"]
    assert run(ask, "select range as n from range(2000)")["truncated"]
    assert run(ask, "select 1 as a, 2 as a")["rows"] == [[1, 2]]
    assert (
        run(ask, "select created, {'a': 1} as s, map {1: 2} as m from graphs limit 1")["columns"][0]["name"]
        == "created"
    )


@pytest.mark.parametrize(
    "query",
    [
        "drop table graphs",
        "create table t as select 1",
        "copy graphs to 'x.csv'",
        "copy (select 1) to 'x.parquet'",
        "attach 'x.db'",
        "install httpfs",
        "load httpfs",
        "set threads = 1",
        "pragma version",
        "call range(3)",
        "select 1; select 2",
        "with x as (insert into graphs select * from graphs returning 1) select * from x",
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from glob('/etc/*')",
        "select * from '/etc/passwd'",
        "select * from 'x.parquet'",
        "select * from query('select 1')",
        'select * from main."_sweep.json"',
        "select 1 where exists (from 'graphs.parquet')",
        "select pg_sleep(0.1)",
        "select 1 where main.SLEEP_MS(1) is null",
        "select write_log('x')",
        "with x as (select * from parquet_metadata('x')) from x",
        "select range(2000000) from range(5)",
        "select * from json_execute_serialized_sql('')",
        "select * from duckdb_secrets()",
        "select getenv('HOME')",
        "select * from python_variable",
        "select",
        "",
    ],
)
def test_sql_that_does_more_than_ask_is_refused(ask, query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    python_variable = results  # noqa: F841
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CircuitSweepError):
        run(ask, query)
    assert sorted(tmp_path.rglob("*")) == before
    assert run(ask, "select count(*) from graphs")["rows"] == [[22]]


def test_a_query_that_takes_too_long_is_ended_and_so_is_one_that_is_stopped(random_output, monkeypatch):
    monkeypatch.setattr("pipeline.viewer.server.QUERY_SECONDS", 0.5)
    slow = "select count(*) from range(100000000) a, range(100000) b"
    with served(random_output.url) as server:
        ended = server.ask("/api/sql", "POST", {"sql": slow, "id": "one"})
        assert ended.status == 408
        assert "longer than" in ended.json["error"]["message"]
        assert server.ask("/api/sql", "POST", {"sql": "select 1"}).json["rows"] == [[1]]
        assert server.ask("/api/sql/nothing", "DELETE").json == {"ended": False}
