"""An object store that fails in every way, under everything that the store does with it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.errors import StoreError
from pipeline.store.commits.keys import shard_id
from pipeline.store.commits.lease import Pace, hold
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.verify.checks import verify
from schemas import TABLES
from tests.support.random_graphs import random_prompt
from tests.support.s3_proxy import KINDS, Faults

pytestmark = pytest.mark.faults

RUN_KEY = -7
Faulty = tuple[str, Faults]


def tables_of(seeds: range, output: Output) -> tuple[str, dict[str, pa.Table]]:
    prompts = [random_prompt(seed, extra_columns={"family": "f"}) for seed in seeds]
    rows = join_tables(graph_tables(prompt, output.extra_columns) for prompt in prompts)
    return shard_id([prompt.prompt_key for prompt in prompts], RUN_KEY), rows


def claim(url: str) -> Output:
    output = Output(url)
    output.claim({"model": "demo"}, RUN_KEY, pa.schema([("family", pa.string())]))
    return output


def rows_of(output: Output) -> dict[str, list[str]]:
    """Every row but for its time, in an order of its own."""
    tables = {name: output.dataset(name).to_table() for name in TABLES}
    kept = {n: t.drop_columns([c for c in ("created",) if c in t.column_names]) for n, t in tables.items()}
    return {name: sorted(map(repr, table.to_pylist())) for name, table in kept.items()}


def whole_life(url: str) -> Output:
    """Everything that a driver, its workers and readers do with an output."""
    output = claim(url)
    with hold(output.folder, Pace(beat=0.2, settle=0.0)) as lease:
        for number in range(3):
            shard, rows = tables_of(range(2 * number, 2 * number + 2), output)
            output.commit(shard, rows)
        lease.check()
        output.delete_orphans()
        output.publish(RUN_KEY)
    return output


def assert_whole(output: Output, tmp_path) -> None:
    report = verify(output.url)
    assert (report.problems, report.orphans) == ([], [])
    assert rows_of(output) == rows_of(whole_life(str(tmp_path / "undisturbed")))


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_may_fail(faulty: Faulty, tmp_path, kind: str) -> None:
    url, faults = faulty
    faults.follow(seed=1, rate=0.03 if kind == "hang" else 0.1, kinds=[kind])
    output = whole_life(url)
    assert verify(url).sound
    assert faults.done()[kind] > 0
    assert_whole(output, tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_requests_fail_in_all_ways(faulty: Faulty, tmp_path, seed: int) -> None:
    url, faults = faulty
    faults.follow(seed=seed, rate=0.1)
    output = whole_life(url)
    output.compact()
    assert_whole(output, tmp_path)
    faults.follow()
    output.vacuum()
    assert verify(url).sound


@pytest.mark.parametrize(
    "pattern",
    [
        r"PUT .*/_sweep\.json",
        r"PUT .*/_driver\.json",
        r"PUT .*/edges/_data/\w+-.*\.parq",
        r"PUT .*/_commits/",
        r"PUT .*/graphs/_delta_log/",
        r"PUT .*/edges/_delta_log/",
        r"DELETE .*/_driver\.json|POST .*\?delete",
    ],
)
def test_an_answer_that_is_lost_was_a_success(faulty: Faulty, tmp_path, pattern: str) -> None:
    """The client tries again, and a create-only request is then refused because of itself."""
    url, faults = faulty
    faults.follow(chosen=[["lost", pattern, 2]])
    output = whole_life(url)
    assert faults.done()["lost"] >= 1
    assert_whole(output, tmp_path)
    assert {len(output.versions())} == {1}


def test_a_compaction_whose_answer_is_lost_has_published(faulty: Faulty, tmp_path) -> None:
    url, faults = faulty
    output = whole_life(url)
    faults.follow(chosen=[["lost", r"PUT .*/\w+/_delta_log/0*1\.json", 7]])
    assert [part.table for part in output.compact()] == [
        "graphs",
        "nodes",
        "edges",
        "head_loadings",
        "qk",
        "activations",
        "reconstruction",
    ]
    assert faults.done()["lost"] == 7
    assert_whole(output, tmp_path)


@pytest.mark.parametrize("kind", ["internal", "slow_down", "reset"])
def test_a_store_that_stays_away_is_an_error_that_says_so(faulty: Faulty, kind: str) -> None:
    url, faults = faulty
    output = claim(url)
    shard, rows = tables_of(range(2), output)
    faults.follow(rate=1.0, kinds=[kind])
    with pytest.raises(StoreError, match=f"cannot .*{url}"):
        output.commit(shard, rows)
    faults.follow()
    assert output.commit(shard, rows)
    assert rows_of(output)["edges"] != []


def test_publishing_to_a_store_that_stays_away_is_an_error_that_says_so(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, faults = faulty
    output = claim(url)
    output.commit(*tables_of(range(2), output))
    faults.follow(chosen=[["internal", r"_delta_log/.*\.json", 10**6]])
    with pytest.raises(StoreError, match="cannot"):
        output.publish(RUN_KEY)
    faults.follow()
    output.publish(RUN_KEY)
    assert verify(url).sound


def test_an_attempt_that_comes_second_leaves_nothing(faulty: Faulty, tmp_path) -> None:
    """Another attempt's marker appears while this one writes; then even the refusal is lost on the way."""
    url, faults = faulty
    output = claim(url)
    shard, rows = tables_of(range(2), output)
    assert output.commit(shard, rows, "first")
    faults.follow(chosen=[["lost", r"PUT .*/_commits/", 1]])
    assert not output.commit(shard, rows, "second")
    (marker,) = output.committed()
    assert marker.attempt.startswith("first-")
    assert len(verify(url).orphans) == len(rows)
    output.delete_orphans()
    output.publish(RUN_KEY)
    report = verify(url)
    assert (report.problems, report.orphans) == ([], [])
