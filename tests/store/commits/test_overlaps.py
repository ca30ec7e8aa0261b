"""Two markers that cover the same prompt: rows are seen once, now, in Delta and after compacting."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from deltalake import DeltaTable

from pipeline.errors import DamageError
from pipeline.store.commits.keys import shard_id
from pipeline.store.commits.marker import Marker
from pipeline.store.layout import marker_name, shard_of
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from schemas import TABLES
from tests.support.random_graphs import random_prompt
from tests.support.stores import SELDOM_S3, place

RUN_KEY = -7
PROMPTS = [random_prompt(seed) for seed in range(5)]
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=SELDOM_S3)
def url(request: pytest.FixtureRequest) -> str:
    return place(request)


def keys_of(numbers: Iterable[int]) -> list[int]:
    return sorted(PROMPTS[number].prompt_key for number in numbers)


def commit(output: Output, numbers: list[int], minute: int, failed: int | None = None) -> str:
    """Commit some prompts as one shard, created at a minute; one of them as a failure."""
    shard = shard_id(keys_of(numbers), RUN_KEY)
    rows = [graph_tables(PROMPTS[number]) for number in numbers if number != failed]
    if failed is not None:
        lost = FailedPrompt(PROMPTS[failed].prompt_key, "lost", RUN_KEY, None, "worker", "Died", "it died")
        rows.append(failure_tables(lost))
    assert output.commit(shard, join_tables(rows))
    name = marker_name(shard)
    marker = json.loads(output.folder.read(name))
    marker["created"] = (LONG_AGO + timedelta(minutes=minute)).isoformat()
    output.folder.delete([name])
    output.folder.create(name, json.dumps(marker).encode())
    return shard


def seen(output: Output) -> list[int]:
    """Prompts with a row in `graphs`; the other tables must hold the rows of just these."""
    graphs = output.dataset("graphs").to_table().to_pylist()
    for table, count in (("nodes", "kept_nodes"), ("edges", "kept_edges")):
        assert output.dataset(table).count_rows() == sum(row[count] for row in graphs)
    return sorted(row["prompt_key"] for row in graphs)


def published(output: Output) -> list[int]:
    options = output.folder.delta_options()
    delta = {name: DeltaTable(f"{output.url}/{name}", storage_options=options) for name in TABLES}
    tables = {name: table.to_pyarrow_table() for name, table in delta.items()}
    assert tables["edges"].num_rows == sum(tables["graphs"]["kept_edges"].to_pylist())
    return sorted(tables["graphs"]["prompt_key"].to_pylist())


def done(output: Output) -> set[int]:
    return {key for marker in output.committed() for key in (*marker.prompt_keys, *marker.failed_keys)}


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_shard_and_its_half_count_once(output: Output, whole_first: bool) -> None:
    whole = commit(output, [0, 1, 2], 0 if whole_first else 1)
    half = commit(output, [0, 1], 1 if whole_first else 0)
    left = [0, 1, 2] if whole_first else [0, 1]
    assert seen(output) == keys_of(left)
    assert done(output) == set(keys_of(left))
    assert [marker.shard for marker in output.committed()] == [whole if whole_first else half]
    output.publish(RUN_KEY)
    assert published(output) == seen(output) == keys_of(left)


def test_what_only_a_dropped_marker_covers_is_not_done_and_can_be_done_again(output: Output) -> None:
    commit(output, [0, 1], 0)
    commit(output, [1, 2], 1)
    commit(output, [2, 3], 2)  # overlaps with none that counts
    assert seen(output) == keys_of([0, 1, 2, 3])
    output.publish(RUN_KEY)
    commit(output, [4], 3)
    assert seen(output) == keys_of(range(5))


def test_at_one_moment_the_ids_decide(output: Output) -> None:
    shards = {commit(output, numbers, 0) for numbers in ([0, 1], [1, 2], [1, 3])}
    assert [marker.shard for marker in output.committed()] == [min(shards)]
    assert len(seen(output)) == 2


def test_a_failure_covers_its_prompt(output: Output) -> None:
    commit(output, [0, 1], 0, failed=1)
    commit(output, [1, 2], 1)
    assert seen(output) == keys_of([0])
    assert done(output) == set(keys_of([0, 1]))


def test_what_was_published_stays_whatever_clocks_say(output: Output) -> None:
    commit(output, [0, 1], 1)
    output.publish(RUN_KEY)
    commit(output, [1, 2], 0)
    for _ in range(2):
        assert seen(output) == keys_of([0, 1])
        output.publish(RUN_KEY)
        assert published(output) == keys_of([0, 1])


def test_what_was_published_twice_is_taken_back(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(output, [0, 1], 0)
    commit(output, [1, 2], 1)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.commits.overlaps.overlapping", lambda markers, published: frozenset())
        output.publish(RUN_KEY)
    assert published(output) == sorted([*keys_of([0, 1]), *keys_of([1, 2])])
    output.publish(RUN_KEY)
    assert published(output) == seen(output) == keys_of([0, 1])
    assert done(output) == set(keys_of([0, 1]))


def test_a_dropped_marker_and_its_files_go(output: Output) -> None:
    commit(output, [0, 1], 0)
    dropped = commit(output, [1, 2], 1)
    output.publish(RUN_KEY)
    assert not output.folder.exists(marker_name(dropped))
    deleted = output.delete_orphans(older_than=time.time() + 1000)
    assert {shard_of(name) for name in deleted} == {dropped}
    assert seen(output) == keys_of([0, 1])


def test_a_marker_that_is_deleted_while_it_is_read(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(output, [0, 1], 0)
    dropped = marker_name(commit(output, [1, 2], 1))
    read = output.folder.read

    def too_late(name: str) -> bytes:
        output.folder.delete([dropped])
        return read(name)

    monkeypatch.setattr(output.folder, "read", too_late)
    assert done(output) == set(keys_of([0, 1]))


def test_compacting_sees_each_row_once(output: Output) -> None:
    output.claim({}, RUN_KEY)
    commit(output, [0, 1], 0)
    commit(output, [1, 2], 1)
    output.compact()
    commit(output, [0, 3], -1)
    assert seen(output) == keys_of([0, 1])
    output.publish(RUN_KEY)
    assert published(output) == keys_of([0, 1])


def test_once_all_is_published_markers_of_graphs_are_not_read(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = commit(output, [0], 0, failed=0)
    commit(output, [1, 2], 1)
    commit(output, [2, 3], 2)
    output.publish(RUN_KEY)
    asked = []
    read = output.folder.read_many
    monkeypatch.setattr(output.folder, "read_many", lambda names: asked.extend(names) or read(names))
    assert seen(output) == keys_of([1, 2])
    assert {name for name in asked if name.startswith("_commits/")} == {marker_name(failed)}


@pytest.mark.timeout(60)
def test_of_ten_thousand_markers_each_overlap_is_found(tmp_path) -> None:
    (tmp_path / "_commits").mkdir()
    marker = {"attempt": "0", "failed_keys": [], "files": {}, "seconds": {}}
    for number in range(10_000):
        shard = shard_id([number], RUN_KEY)
        keys = list(range(32 * number, 32 * number + 32 + (number % 100 == 0)))  # one in a hundred overlaps
        written = Marker(shard=shard, prompt_keys=keys, created=LONG_AGO + timedelta(number), **marker)
        (tmp_path / marker_name(shard)).write_text(written.model_dump_json())
    assert len(list(Output(tmp_path).committed())) == 9_900


def test_a_marker_with_a_key_that_no_prompt_can_have_is_named(tmp_path) -> None:
    output = Output(tmp_path)
    shard = commit(output, [1, 2], 0)
    path = tmp_path / marker_name(shard)
    text = path.read_text()
    first = str(next(iter(keys_of([1]))))
    path.write_text(text.replace(first, str(2**63)))
    with pytest.raises(DamageError, match=rf"{shard}\.json is not a marker"):
        list(output.committed())
