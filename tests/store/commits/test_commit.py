from __future__ import annotations

import multiprocessing
import threading
from collections import Counter

import pytest
from xxhash import xxh3_128_hexdigest

from pipeline.errors import StoreError
from pipeline.seconds import Seconds
from pipeline.store.commits.keys import shard_id
from pipeline.store.commits.marker import Marker, read_markers
from pipeline.store.layout import marker_name
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from tests.support.racing import commit_shards
from tests.support.random_graphs import random_prompt

RUN_KEY = -7
PROMPTS = [random_prompt(seed) for seed in range(3)]
FAILED = FailedPrompt(99, "bad", RUN_KEY, "too long", "tokens", "PromptError", "prompt has 5000 tokens")
SHARD = shard_id([prompt.prompt_key for prompt in PROMPTS], RUN_KEY)


def rows():
    return join_tables(graph_tables(prompt) for prompt in PROMPTS)


def only_marker(output: Output) -> Marker:
    (marker,) = output.committed()
    return marker


def test_a_committed_shard_is_read_back_as_it_was_written(output: Output) -> None:
    tables = rows()
    assert output.commit(SHARD, tables)
    for name, expected in tables.items():
        assert output.dataset(name).to_table().equals(expected)


def test_the_marker_says_what_was_written(output: Output) -> None:
    tables = rows() | failure_tables(FAILED)
    output.commit(SHARD, tables, "3", seconds=Seconds(model=1.5), worker="10.0.0.1:7")
    marker = only_marker(output)
    assert marker.shard == SHARD
    assert marker.attempt.startswith("3-")
    assert marker.prompt_keys == tuple(prompt.prompt_key for prompt in PROMPTS)
    assert marker.failed_keys == (99,)
    assert marker.rows == {name: table.num_rows for name, table in tables.items()}
    assert marker.seconds.model == 1.5
    assert marker.seconds.writing > 0
    assert marker.worker == "10.0.0.1:7"
    for file in marker.files.values():
        data = output.folder.read(file.path)
        assert len(data) == file.bytes
        assert f"xxh3-128:{xxh3_128_hexdigest(data)}" == file.checksum


def test_a_table_without_rows_has_no_file_and_is_still_readable(output: Output) -> None:
    output.commit(SHARD, rows())
    assert "failures" not in only_marker(output).files
    assert output.dataset("failures").to_table().num_rows == 0
    assert output.duckdb().execute("select count(*) from failures where attempts > 1").fetchone() == (0,)


def test_a_shard_whose_prompts_all_failed_is_done(output: Output) -> None:
    assert output.commit(SHARD, failure_tables(FAILED))
    marker = only_marker(output)
    assert (marker.prompt_keys, marker.failed_keys) == ((), (99,))
    assert set(marker.files) == {"failures"}


def test_the_second_attempt_loses_and_is_not_seen(output: Output) -> None:
    assert output.commit(SHARD, rows(), "1")
    assert not output.commit(SHARD, rows(), "1")
    assert only_marker(output).attempt.startswith("1-")
    assert output.dataset("graphs").count_rows() == len(PROMPTS)


def test_files_without_a_marker_are_not_seen(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(name: str, data: bytes) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(output.folder, "create", killed)
    with pytest.raises(KeyboardInterrupt):
        output.commit(SHARD, rows())
    monkeypatch.undo()
    assert list(output.folder.list("edges/_data"))
    assert list(output.committed()) == []
    assert output.dataset("edges").count_rows() == 0
    assert output.duckdb().execute("select * from edges").fetchall() == []


def test_of_racing_threads_exactly_one_wins(output: Output) -> None:
    tables, won, together = rows(), [], threading.Barrier(6)

    def race(attempt: int) -> None:
        together.wait()
        won.append(output.commit(SHARD, tables, str(attempt)) is not None)

    threads = [threading.Thread(target=race, args=(attempt,)) for attempt in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(won) == {True: 1, False: 5}
    assert output.dataset("graphs").count_rows() == len(PROMPTS)


def test_of_racing_processes_exactly_one_wins_each_shard(output: Output) -> None:
    shards = [shard_id([number], RUN_KEY) for number in range(5)]
    spawn = multiprocessing.get_context("spawn")
    together, won = spawn.Barrier(2), spawn.Queue()
    arguments = (output.url, shards, rows(), together, won)
    processes = [spawn.Process(target=commit_shards, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    winners = Counter(shard for _ in processes for shard in won.get(timeout=60))
    for process in processes:
        process.join()
    assert winners == Counter(shards)
    assert [marker.shard for marker in read_markers(output.folder, output.tables)] == sorted(shards)


def test_a_commit_whose_answer_was_lost_has_won(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    create = output.folder.create

    def answer_lost(name: str, data: bytes) -> bool:
        """The client tries again by itself and is refused because of its own first try."""
        create(name, data)
        return create(name, data)

    monkeypatch.setattr(output.folder, "create", answer_lost)
    assert output.commit(SHARD, rows())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "EOF"),
        (lambda data: data[: len(data) // 2], "EOF"),
        (lambda data: b"\0" * len(data), "expected value"),
        (lambda data: b"{}", "Field required"),
        (lambda data: data.replace(SHARD.encode(), b"0" * 32), "it speaks of shard 000"),
    ],
    ids=["empty", "cut", "zeros", "not-a-marker", "of-another-shard"],
)
def test_a_damaged_marker_is_named(output: Output, damage, said: str) -> None:
    output.commit(SHARD, rows())
    name = marker_name(SHARD)
    output.folder.fs.pipe_file(output.folder.path(name), damage(output.folder.read(name)))
    with pytest.raises(StoreError, match=rf"{name}(?s:.*){said}"):
        list(output.committed())


def test_an_unknown_table_is_refused(output: Output) -> None:
    with pytest.raises(StoreError, match="no such table: egdes; there are graphs, nodes, edges"):
        output.commit(SHARD, {"egdes": rows()["edges"]})
