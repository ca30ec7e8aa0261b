"""States: a page is of one, new graphs are announced, earlier nights stay; sweeps that lack much."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pyarrow as pa
import pytest

from pipeline.errors import CircuitSweepError
from pipeline.store import Output
from pipeline.store.rows import FailedPrompt, failure_tables
from pipeline.viewer.states import State
from tests.support.outputs import RUN, altered, without_features, write_output
from tests.support.viewers import Answers, served

EVERY = ("/api/sweep", "/api/overview", "/api/prompts", "/api/failures", "/api/features", "/api/search")


def test_a_page_stays_of_one_state_while_a_sweep_runs_and_is_told_of_new_graphs(tmp_path):
    output = write_output(tmp_path / "out", range(4), ["a"])
    with served(output.url) as server:
        state = server.ask("/api/sweep").json["state"]
        etag = server.ask("/api/overview").headers["ETag"]
        assert server.ask("/api/overview", If_None_Match=etag).status == 304
        write_output(tmp_path / "out", range(4, 12), ["a"])
        assert server.ask("/api/news").json == {"new_graphs": 8, "state": state}
        assert server.ask("/api/sweep").json["graphs"] == 4
        fresh = server.ask("/api/refresh", "POST", {}).json
        assert fresh["graphs"] == 12
        assert server.ask("/api/overview").json["counts"]["graphs"] == 12
        assert server.ask("/api/overview", If_None_Match=etag).status == 200
        assert server.ask(f"/api/overview?state={state}").json["counts"]["graphs"] == 4
        gone = server.ask("/api/overview?state=0123456789abcdef")
        assert gone.status == 410
        assert gone.json["error"]["way_out"] == "Reload the page."


def test_sums_over_all_prompts_are_made_once_for_a_state_however_many_ask(tmp_path):
    output = write_output(tmp_path / "out", range(6), ["a"])
    state = State.open(output.url)
    made = []

    def ask(_):
        with state.lent() as results:
            name = state.summaries.table("kept_features", results)
            made.append(results.sql(f"select * from {name} order by layer, feature").to_arrow_table())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))
    assert len(made) == 16
    assert all(table.equals(made[0]) for table in made)
    with state.lent() as results:
        expected = results.sql(
            "select layer, feature, count(distinct prompt_key), sum(influence::double) from nodes "
            "where kind = 'feature' group by all order by layer, feature"
        ).fetchall()
    assert [tuple(row.values()) for row in made[0].to_pylist()] == [
        (*row[:3], pytest.approx(row[3])) for row in expected
    ]


def test_an_earlier_night_is_that_night(tmp_path):
    output = write_output(tmp_path / "out", range(4), ["a"])
    output.publish(-7)
    write_output(tmp_path / "out", range(4, 12), ["a"])
    output.publish(-7)
    ask = Answers(output.url)
    assert ask("/api/overview")["counts"]["graphs"] == 12
    assert ask("/api/overview", at="0")["counts"]["graphs"] == 4
    assert [night["version"] for night in ask("/api/overview")["nights"]] == [0, 1]
    with pytest.raises(CircuitSweepError, match="has no version 7"):
        ask("/api/overview", at="7")


def empty(tmp_path):
    output = Output(tmp_path / "out")
    output.claim(RUN, -7, pa.schema([]))
    return output


def failed(tmp_path):
    output = empty(tmp_path)
    lost = FailedPrompt(
        prompt_key=5,
        id="lost",
        run_key=-7,
        text="x",
        stage="tokenize",
        error_class="PromptError",
        message="it is <b>too long</b>",
        attempts=1,
        extra_columns={},
    )
    output.commit("0" * 32, failure_tables(lost, output.extra_columns))
    return output


def featureless(tmp_path):
    return altered(write_output(tmp_path / "one", range(4), ["a"]), tmp_path / "out", without_features)


@pytest.mark.parametrize("make", [empty, failed, featureless])
def test_every_page_stands_whatever_the_sweep_lacks(make, tmp_path):
    ask = Answers(make(tmp_path).url)
    for endpoint in EVERY:
        assert ask(endpoint, q="a") is not None, endpoint
    missing = ask("/api/sweep")["missing"]
    assert missing["faithfulness"].startswith("circuit-sweep validate ")
    assert missing["edge_stats"].startswith("circuit-sweep aggregate ")
    with pytest.raises(CircuitSweepError):
        ask("/api/feature/{layer}/{feature}", {"layer": "31", "feature": "99999"})


def test_a_failed_prompt_says_why(tmp_path):
    ask = Answers(failed(tmp_path).url)
    assert ask("/api/failures")["rows"][0]["message"] == "it is <b>too long</b>"
    assert ask("/api/overview")["failures"][0]["stage"] == "tokenize"
    with pytest.raises(CircuitSweepError, match="there is no graph yet"):
        ask("/api/graph/{key:.+}", {"key": "lost"})


def test_a_damaged_file_is_named(tmp_path):
    output = write_output(tmp_path / "out", range(4), ["a"])
    ask = Answers(output.url)
    for file in (tmp_path / "out" / "graphs" / "_data").iterdir():
        file.write_bytes(b"PAR1 nothing")
    with pytest.raises(CircuitSweepError, match="_data"):
        ask("/api/prompts")


def test_a_read_only_disk_is_read(tmp_path):
    output = write_output(tmp_path / "out", range(4), ["a"])
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert Answers(output.url)("/api/overview")["counts"]["graphs"] == 4
    finally:
        for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(tmp_path / "out")


def test_names_and_texts_of_strangers_are_found_and_given_back_as_they_are(tmp_path):
    hostile = [
        "a/b#c?d%e",
        "<img src=x onerror=alert(1)>",
        "x\u202ey",
        "nul\x00l",
        "'; drop table graphs --",
        "🦜" * 50,
    ]
    plain = write_output(tmp_path / "one", range(len(hostile)), ["a"])
    output = altered(plain, tmp_path / "out", lambda tables: renamed(tables, hostile))
    ask = Answers(output.url)
    rows = ask("/api/prompts", limit=50)["rows"]
    assert {row["id"] for row in rows} == {*hostile}
    with served(output.url) as server:
        for id in hostile:
            header, _ = server.ask(f"/api/graph/{quote(id, safe='')}").arrays
            assert header["prompt"]["id"] == id
            assert [row["id"] for row in ask("/api/prompts", q=f'"{id}"')["rows"]] == [id]


def renamed(tables, ids):
    names = dict(zip(tables["graphs"]["prompt_key"].to_pylist(), ids, strict=True))
    found = {}
    for name, rows in tables.items():
        column = pa.array([names[key] for key in rows["prompt_key"].to_pylist()], pa.string())
        index = rows.schema.get_field_index("id")
        found[name] = rows.set_column(index, rows.schema.field(index), column)
    return found
