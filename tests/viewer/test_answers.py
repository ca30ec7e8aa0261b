"""Answers against SQL and brute force, on random graphs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import CircuitSweepError
from pipeline.results import Results, read_graph
from pipeline.viewer.packed import SAFE_INTEGER, Packed, json_bytes
from tests.support.viewers import Answers, unpack


@pytest.fixture
def ask(random_output):
    return Answers(random_output.url)


def test_arrays_survive_the_wire():
    arrays = {
        "a": np.arange(5, dtype=np.uint8),
        "b": np.array([1.5, np.nan], np.float32),
        "c": np.arange(3, dtype=np.int32) - 1,
        "none": np.zeros(0, np.uint16),
        "d": np.array([1e300]),
    }
    header, found = unpack(Packed({"text": "\u202e\ud800 <b>"}, arrays).encode())
    assert header["text"] == "\u202e\ud800 <b>"
    for name, values in arrays.items():
        assert np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f")


def test_json_keeps_every_digit_and_has_no_nan():
    assert json_bytes({"a": SAFE_INTEGER, "b": SAFE_INTEGER - 1, "c": float("nan"), "d": [float("inf")]}) == (
        b'{"a":"9007199254740992","b":9007199254740991,"c":null,"d":[null]}'
    )
    large = 2**62 + 1
    for value in ({"k": large}, [large], [0, large], {"a": ({"b": [large]},)}):
        assert f'"{large}"' in json_bytes(value).decode()
    assert json_bytes([-large, "x:1234567890123456", 1e300]) == (
        b'["-4611686018427387905","x:1234567890123456",1e+300]'
    )


def test_a_graph_is_the_stored_one(ask, random_output):
    results = Results(random_output.url)
    for (prompt_id,) in results.sql("select id from graphs").fetchall():
        stored = read_graph(results, prompt_id)
        header, arrays = ask("/api/graph/{key:.+}", {"key": prompt_id})
        assert header["counts"]["kept_edges"] == len(arrays["weight"]) == len(stored.scores)
        kinds = np.array(header["kinds"])[arrays["kind"]]
        names = [
            (kind, layer if layer >= 0 else None, position)
            for kind, layer, position in zip(
                kinds, arrays["layer"].tolist(), arrays["position"].tolist(), strict=True
            )
        ]
        rows = stored.nodes.to_pylist()
        order = _order(rows)
        assert names == [(rows[i]["kind"], rows[i]["layer"], rows[i]["position"]) for i in order]
        for name, column in {"influence": "influence", "cumulative": "cumulative_influence"}.items():
            assert arrays[name].tolist() == [rows[i][column] for i in order]
        place = np.argsort(order)
        ours = {
            (s, t): (w, score)
            for s, t, w, score in zip(
                *(arrays[n].tolist() for n in ("source", "target", "weight", "score")), strict=True
            )
        }
        ends = (place[stored.edges.source].tolist(), place[stored.edges.target].tolist())
        theirs = dict(
            zip(
                zip(*ends, strict=True),
                zip(stored.edges.weight.tolist(), stored.scores.tolist(), strict=True),
                strict=True,
            )
        )
        assert ours == theirs
        assert np.all(np.diff(arrays["score"]) <= 0)
        assert arrays["edge_cumulative"][-1] == pytest.approx(1)


def _order(rows):
    kinds = {"feature": 0, "error": 1, "token": 2, "logit": 3}

    def key(i):
        row = rows[i]
        rest = ("layer", "position", "feature", "token_id", "target_index")
        return (kinds[row["kind"]], *((row[n] is None, row[n] or 0) for n in rest))

    return sorted(range(len(rows)), key=key)


def test_left_out_edges_are_counted(ask, random_output):
    prompt_id = (
        Results(random_output.url).sql("select id from graphs order by kept_edges desc").fetchall()[0][0]
    )
    whole, all_arrays = ask("/api/graph/{key:.+}", {"key": prompt_id})
    part, arrays = ask("/api/graph/{key:.+}", {"key": prompt_id}, edges=5)
    assert part["counts"]["edges_sent"] == 5
    assert part["counts"]["score"] == whole["counts"]["score"]
    assert part["counts"]["score_sent"] == pytest.approx(
        float(all_arrays["score"][:5].astype(np.float64).sum())
    )
    assert arrays["edge_cumulative"].tolist() == all_arrays["edge_cumulative"][:5].tolist()


def test_pages_of_prompts_hold_each_once_in_order(ask, random_output):
    for sort in (
        "id",
        "-replacement_score",
        "family",
        "-family",
        "kept_nodes",
        "-created",
        "prediction_probability",
    ):
        seen, after = [], ""
        while True:
            page = ask("/api/prompts", sort=sort, limit=5, **({"after": after} if after else {}))
            seen += page["rows"]
            if not (after := page["after"]):
                break
        column, down = sort.removeprefix("-"), "desc" if sort.startswith("-") else "asc"
        expected = Results(random_output.url).sql(
            f"select id from graphs order by {column} {down} nulls last, prompt_key"
        )
        assert [row["id"] for row in seen] == [name for (name,) in expected.fetchall()], sort


@pytest.mark.parametrize(
    ("question", "condition"),
    [
        ({"where": "kept_nodes > 20"}, "kept_nodes > 20"),
        ({"where": "family is null -- or true"}, "family is null"),
        ({"q": "where: positions < 6"}, "positions < 6"),
        ({"is__family": ["a", "b"]}, "family in ('a', 'b')"),
        ({"is__family": ""}, "family is null"),
        ({"q": "1"}, "contains(id, '1') or contains(text, '1')"),
        (
            {"q": "3/720"},
            "prompt_key in (select prompt_key from nodes where kind = 'feature' and layer = 3 and "
            "feature = 720)",
        ),
    ],
)
def test_filters_choose_what_sql_chooses(ask, random_output, question, condition):
    found = ask("/api/prompts", **question)
    expected = (
        Results(random_output.url).sql(f"select id from graphs where {condition} order by id").fetchall()
    )
    assert [row["id"] for row in found["rows"]] == [name for (name,) in expected]
    assert found["total"] == len(expected)
    assert sum(n for _, n in found["facets"]["family"]) == len(expected)


@pytest.mark.parametrize(
    "where",
    [
        "1=1) or (1=1",
        "1=1; drop table graphs",
        "id in (select content from read_text('/etc/passwd'))",
        "exists(from glob('/**'))",
        "id, text",
        "nothing = 1",
        "positions = (with x as (insert into graphs values (1) returning 1) select 1)",
    ],
)
def test_filters_that_are_no_filters_are_refused(ask, where):
    with pytest.raises(CircuitSweepError):
        ask("/api/prompts", where=where)


def test_the_overview_counts_what_sql_counts(ask, random_output):
    found, results = ask("/api/overview"), Results(random_output.url)
    graphs, nodes, edges = results.sql(
        "select count(*), sum(kept_nodes), sum(kept_edges) from graphs"
    ).fetchall()[0]
    assert [found["counts"][name] for name in ("graphs", "nodes", "edges")] == [graphs, nodes, edges]
    for family in found["families"]:
        for measure in ("replacement_score", "completeness_score"):
            shown = family[measure]
            assert sum(shown["bins"]) + shown["below"] + shown["above"] == shown["n"] == family["n"]
            condition = f"family = '{family['family']}'" if family["family"] else "family is null"
            median = results.sql(f"select median({measure}) from graphs where {condition}").fetchall()[0][0]
            assert shown["median"] == median
    top = found["features"][0]
    expected = results.sql(
        "select count(distinct prompt_key), sum(influence::double) from nodes where kind = 'feature' "
        f"and layer = {top['layer']} and feature = {top['feature']}"
    ).fetchall()[0]
    assert (top["prompts"], top["influence"]) == (expected[0], pytest.approx(expected[1]))


def test_a_prompt_that_is_not_there_is_named_with_those_that_are(ask):
    with pytest.raises(CircuitSweepError, match=r"no graph .* has the id 'nothing'"):
        ask("/api/graph/{key:.+}", {"key": "nothing"})
