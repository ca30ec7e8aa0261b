from __future__ import annotations

import time

import pytest

from pipeline.store.commits.keys import shard_id
from pipeline.store.commits.orphans import CLOCK_MARGIN
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from tests.support.random_graphs import random_prompt

PROMPT = random_prompt(1)
SHARD = shard_id([PROMPT.prompt_key], -7)
OTHER = shard_id([1], -7)


@pytest.fixture
def committed(output: Output) -> Output:
    output.commit(SHARD, graph_tables(PROMPT))
    return output


def names(output: Output) -> set[str]:
    return {entry.name for table in output.schemas for entry in output.folder.list(f"{table}/_data")}


def test_the_loser_of_a_race_is_deleted_at_once(committed: Output) -> None:
    before = names(committed)
    committed.commit(SHARD, graph_tables(PROMPT))
    assert len(names(committed)) == 2 * len(before)
    deleted = committed.delete_orphans()
    assert len(deleted) == len(before)
    assert names(committed) == before


def test_a_worker_that_is_still_writing_is_left_alone(committed: Output) -> None:
    committed.folder.write(f"edges/_data/{OTHER}-1-aaaa.parq", b"unfinished")
    assert committed.delete_orphans() == []


def test_what_a_killed_sweep_left_is_deleted_by_the_next(committed: Output) -> None:
    left = [f"_commits/.{OTHER}.json.{'0' * 32}", f"edges/_data/{OTHER}-1-aaaa.parq"]
    for name in left:
        committed.folder.write(name, b"unfinished")
    assert committed.delete_orphans(older_than=time.time() + 2 * CLOCK_MARGIN) == left
    assert [marker.shard for marker in committed.committed()] == [SHARD]
    assert committed.dataset("edges").count_rows() == len(PROMPT.pruned.weight)


def test_files_of_others_and_published_files_are_left_alone(committed: Output) -> None:
    committed.publish(-7)
    committed.folder.write("edges/_data/part-00000-of-a-compaction.parq", b"")
    committed.folder.delete([f"_commits/{SHARD}.json"])
    assert committed.delete_orphans(older_than=time.time() + 2 * CLOCK_MARGIN) == []


def test_nothing_written_nothing_deleted(output: Output) -> None:
    assert output.delete_orphans() == []


def test_what_an_abandoned_shard_left_is_deleted_and_a_straggler_counts_for_nothing(output: Output) -> None:
    """The shard was split, and its halves are published; then one that was thought dead commits it."""
    halves = [random_prompt(1), random_prompt(2)]
    whole = shard_id([prompt.prompt_key for prompt in halves], -7)
    for prompt in halves:
        output.commit(shard_id([prompt.prompt_key], -7), graph_tables(prompt))
    output.publish(-7)
    before = names(output)
    output.folder.write(f"edges/_data/{whole}-1-aaaa.parq", b"unfinished")
    assert output.delete_orphans() == []
    assert output.delete_orphans(abandoned={whole}) == [f"edges/_data/{whole}-1-aaaa.parq"]
    assert names(output) == before
    output.commit(whole, join_tables(map(graph_tables, halves)))
    output.folder.delete(name for name in names(output) - before if whole in name)
    assert output.dataset("graphs").count_rows() == 2
    output.publish(-7)
    assert output.dataset("edges").count_rows() == sum(len(prompt.pruned.weight) for prompt in halves)


def test_what_a_dropped_shard_left_is_deleted_once_the_others_are_published(output: Output) -> None:
    """A worker died after its commit and before its answer, and the shard was split and done again."""
    halves = [random_prompt(1), random_prompt(2)]
    whole = shard_id([prompt.prompt_key for prompt in halves], -7)
    output.commit(whole, join_tables(map(graph_tables, halves)))
    before = names(output)
    for prompt in halves:
        output.commit(shard_id([prompt.prompt_key], -7), graph_tables(prompt))
    dropped = output.publish(-7).dropped
    assert len(dropped) == 2
    assert len(output.delete_orphans(abandoned=dropped)) == 2 * len(before)
    assert names(output) == before
