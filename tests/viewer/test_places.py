"""Outputs in other places and of other sizes: S3, a disk of others, vacuumed; none, one, 100,000 prompts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import CircuitSweepError
from pipeline.store import Output
from pipeline.store.commits import shard_id
from tests.support.fresh_process import in_fresh_process
from tests.support.other_user import asked_as_nobody
from tests.support.outputs import RUN, write_output
from tests.support.viewers import Answers, served

PATHS = [
    "/api/sweep",
    "/api/overview",
    "/api/prompts",
    "/api/features",
    "/api/search?q=prompt",
    "/api/circuit?label=a",
]


def test_a_sweep_in_a_bucket_is_served_as_one_on_a_disk(s3_url, tmp_path):
    there, here = (write_output(url, range(4), ["a", "b"]) for url in (s3_url, tmp_path / "out"))
    with served(there.url, model=False) as remote, served(here.url, model=False) as local:
        for path in PATHS[1:]:
            ours, theirs = local.ask(path), remote.ask(path)
            assert (ours.status, theirs.status) == (200, 200)
            assert theirs.json.keys() == ours.json.keys()
        assert [row["id"] for row in remote.ask("/api/prompts").json["rows"]] == [
            row["id"] for row in local.ask("/api/prompts").json["rows"]
        ]
        (header, arrays), (_, expected) = (
            server.ask("/api/graph/prompt-1").arrays for server in (remote, local)
        )
        assert header["prompt"]["id"] == "prompt-1"
        assert all(np.array_equal(arrays[name], expected[name], equal_nan=True) for name in expected)
        url = remote.ask("/api/sweep").json["url"]
        assert url == there.url
        assert "?" not in url
        note = {"kind": "label", "text": "mine", "members": ["1/3"]}
        assert remote.ask("/api/notes", "POST", note).status == 200
        assert [one["text"] for one in remote.ask("/api/notes").json["notes"]] == ["mine"]
        # Files of a bucket are read by pyarrow: DuckDB itself reaches none.
        refused = remote.ask("/api/sql", "POST", {"sql": f"select * from read_parquet('{url}/graphs/*')"})
        assert refused.status == 400


@pytest.fixture
def not_ours():
    """An output that everybody may read and nobody write."""
    folder = Path(tempfile.mkdtemp(prefix="circuit-sweep-test-"))
    write_output(folder / "out", range(4), ["a"])
    folder.chmod(0o755)
    for path in [folder / "out", *(folder / "out").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder / "out"
    for path in [folder / "out", *(folder / "out").rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_disk_that_only_others_write_is_read_and_a_note_says_why_it_is_not_kept(not_ours, tmp_path):
    write_output(tmp_path / "warm", range(4), ["a"])
    answers = in_fresh_process(asked_as_nobody, str(not_ours), str(tmp_path / "warm"), PATHS)
    statuses = [status for status, _ in answers]
    assert statuses == [200] * len(PATHS) + [400, 200]
    assert "ermission" in answers[-2][1]["error"]["message"]
    assert answers[1][1]["counts"]["graphs"] == 4


def test_a_vacuumed_night_is_named_with_the_first_that_is_whole(tmp_path):
    output = write_output(tmp_path / "out", range(8), ["a"])
    output.publish(-7)
    output.compact()
    output.vacuum()
    ask = Answers(output.url)
    assert ask("/api/overview")["counts"]["graphs"] == 8
    with pytest.raises(CircuitSweepError, match=r"version 0 of .* was vacuumed.* version 1 is the first"):
        ask("/api/overview", at="0")
    with served(output.url, model=False) as server:
        assert server.ask("/api/overview?at=0").status == 400
        assert server.ask("/api/overview?at=1").json["counts"]["graphs"] == 8


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_prompt(tmp_path, count):
    if count:
        output = write_output(tmp_path / "out", range(1), ["a"])
    else:
        output = Output(tmp_path / "out")
        output.claim(RUN, -7, pa.schema([("family", pa.string())]))
    with served(output.url, model=False) as server:
        for path in PATHS:
            answered = server.ask(path)
            assert answered.status == (404 if not count and "circuit" in path else 200), path
        assert server.ask("/api/prompts").json["total"] == count
        assert server.ask("/api/overview").json["counts"]["graphs"] == count
        graph = server.ask("/api/graph/prompt-0")
        assert graph.status == (200 if count else 404)
        if not count:
            assert "no graph yet" in graph.json["error"]["message"]
            assert "circuit-sweep status" in graph.json["error"]["way_out"]


def test_a_hundred_thousand_prompts_are_counted_sorted_and_found(tmp_path):
    count = 100_000
    few = write_output(tmp_path / "few", range(8), ["a", "b"])
    tables = {name: few.dataset(name).to_table() for name in ("graphs", "nodes", "edges", "activations")}
    graphs = tables["graphs"].take(np.arange(count) % 8)
    for name, values in {"prompt_key": np.arange(count) + 1, "id": [f"p{n}" for n in range(count)]}.items():
        column = graphs.schema.get_field_index(name)
        graphs = graphs.set_column(
            column, graphs.schema.field(column), pa.array(values, graphs.schema.field(column).type)
        )
    output = Output(tmp_path / "out")
    output.claim(RUN, -7, pa.schema([("family", pa.string())]))
    output.commit(shard_id(range(1, count + 1), -7), tables | {"graphs": graphs})
    with served(output.url, model=False) as server:
        first = server.ask("/api/prompts?sort=-id").json
        assert first["total"] == count
        assert [row["id"] for row in first["rows"][:3]] == ["p99999", "p99998", "p99997"]
        second = server.ask(f"/api/prompts?sort=-id&after={first['after']}").json
        assert second["rows"][0]["id"] == sorted(graphs["id"].to_pylist(), reverse=True)[100]
        assert dict(first["facets"]["family"]) == {"a": count // 2, "b": count // 2}
        assert server.ask("/api/prompts?q=p7777&is.family=b").json["total"] == 6
        assert server.ask("/api/overview").json["counts"]["graphs"] == count
        assert server.ask("/api/search?q=p12345").json["prompts"][0]["id"] == "p12345"
        assert server.ask("/api/circuit?label=a").status == 400
        assert len(first["rows"]) == 100
