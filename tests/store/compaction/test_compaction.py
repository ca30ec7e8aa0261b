from __future__ import annotations

import errno
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from xxhash import xxh3_128_hexdigest

from pipeline.errors import StoreError
from pipeline.store.commits.keys import shard_id
from pipeline.store.compaction import compaction as compaction_module
from pipeline.store.compaction import rewriting
from pipeline.store.compaction.compaction import compact
from pipeline.store.compaction.leftovers import LEFTOVER_AGE
from pipeline.store.compaction.manifest import read_manifests
from pipeline.store.compaction.projections import PROJECTIONS
from pipeline.store.files import local
from pipeline.store.layout import data_folder, projection_folder
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from schemas import TABLES
from tests.support.random_graphs import random_prompt
from tests.support.stores import SELDOM_S3, place

RUN_KEY = -7


def commit(output: Output, seeds: range) -> None:
    prompts = [random_prompt(seed, extra_columns={"family": f"f{seed}"}) for seed in seeds]
    rows = [graph_tables(prompt, output.extra_columns) for prompt in prompts]
    failed = FailedPrompt(seeds[0], f"bad-{seeds[0]}", RUN_KEY, "", "tokenize", "PromptError", "empty")
    rows.append(failure_tables(failed, output.extra_columns))
    assert output.commit(shard_id([prompt.prompt_key for prompt in prompts], RUN_KEY), join_tables(rows))


@pytest.fixture(params=SELDOM_S3)  # `results` has a quick one that compacts and vacuums
def url(request: pytest.FixtureRequest) -> str:
    return place(request)


@pytest.fixture
def filled(output: Output) -> Output:
    """Four shards of two prompts and a failure, of which three are published."""
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string()), ("tags", pa.list_(pa.int64()))]))
    for number in range(3):
        commit(output, range(10 * number, 10 * number + 2))
    output.publish(RUN_KEY)
    commit(output, range(30, 32))
    return output


def rows_of(output: Output, table: str) -> list[tuple]:
    """All rows, in an order of our own; within a prompt, in the file's."""
    rows = output.dataset(table).to_table().to_pylist()
    return sorted((tuple(map(repr, row.values())) for row in rows), key=lambda row: row[0])


def delta(output: Output, table: str, version: int | None = None) -> DeltaTable:
    return DeltaTable(f"{output.url}/{table}", version, storage_options=output.folder.delta_options())


def test_every_row_is_there_once_in_prompt_order(filled: Output) -> None:
    before = {table: rows_of(filled, table) for table in TABLES}
    done = filled.compact()
    assert [(part.table, part.files_before, part.files) for part in done] == [(t, 4, 1) for t in TABLES]
    for table in TABLES:
        assert rows_of(filled, table) == before[table]
        keys = filled.dataset(table).to_table()["prompt_key"].to_pylist()
        assert keys == sorted(keys)
        assert filled.dataset(table).schema.equals(filled.schemas[table])


def test_projections_hold_the_same_rows_sorted_by_feature(filled: Output) -> None:
    filled.compact()
    snapshot = filled.snapshot()
    assert set(snapshot.projections) == set(PROJECTIONS)
    for projection in PROJECTIONS.values():
        (path,) = snapshot.projections[projection.name]
        with filled.folder.fs.open(filled.folder.path(path)) as file:
            rows = pq.read_table(file).to_pylist()
        order = [tuple(row[name] for name in (*projection.order, "prompt_key")) for row in rows]
        assert order == sorted(order)
        key = lambda row: tuple(map(repr, row.values()))  # noqa: E731
        assert sorted(map(key, rows)) == sorted(
            map(key, filled.dataset(projection.table).to_table().to_pylist())
        )


def test_the_delta_log_follows(filled: Output) -> None:
    filled.compact()
    for table in TABLES:
        now = delta(filled, table)
        assert (now.version(), len(now.file_uris())) == (2, 1)
        assert now.to_pyarrow_table().num_rows == filled.dataset(table).count_rows()
    options = filled.folder.delta_options() or None
    edges = pl.scan_delta(f"{filled.url}/edges", storage_options=options)
    assert edges.select(pl.len()).collect().item() == filled.dataset("edges").count_rows()
    assert delta(filled, "graphs", 0).to_pyarrow_table().num_rows == 6


def test_a_second_compaction_has_nothing_to_do(filled: Output) -> None:
    filled.compact()
    assert filled.compact() == []
    assert filled.compact(everything=True) == []
    assert delta(filled, "edges").version() == 2


def test_later_shards_are_read_beside_the_compacted_ones_and_join_them(filled: Output) -> None:
    filled.compact()
    commit(filled, range(40, 42))
    assert filled.dataset("graphs").count_rows() == 10
    assert len(filled.snapshot().projections["edges_by_source"]) == 2
    (graphs, *_) = filled.compact()
    assert (graphs.files_before, graphs.rows) == (1, 2)
    assert len(filled.snapshot().files["edges"]) == 2
    (graphs, *_) = filled.compact(everything=True)
    assert (graphs.files_before, graphs.rows, graphs.files) == (2, 10, 1)
    assert filled.dataset("graphs").count_rows() == 10
    assert [len(paths) for paths in filled.snapshot().projections.values()] == [1] * len(PROJECTIONS)


def test_a_prompt_that_two_files_share_keeps_the_order_of_its_rows(
    filled: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(rewriting, "FILE_ROW_GROUPS", 1)
    before = rows_of(filled, "edges")
    filled.compact()
    assert len(filled.snapshot().files["edges"]) > len({row[0] for row in before})
    commit(filled, range(40, 41))
    filled.compact(everything=True)
    kept = {row[0] for row in before}
    assert [row for row in rows_of(filled, "edges") if row[0] in kept] == before


def test_markers_keep_their_meaning(filled: Output) -> None:
    before = list(filled.committed())
    filled.compact()
    filled.vacuum()
    assert list(filled.committed()) == before
    assert filled.delete_orphans(older_than=time.time() + 1000) == []
    filled.publish(RUN_KEY)
    assert delta(filled, "graphs").version() == 2
    assert filled.dataset("graphs").count_rows() == 8


def test_a_published_shard_is_known_without_its_marker(filled: Output) -> None:
    filled.compact()
    filled.folder.delete(entry.name for entry in list(filled.folder.list("_commits")))
    assert filled.dataset("edges").count_rows() == 8 * 300


def test_what_was_written_can_be_verified(filled: Output) -> None:
    filled.compact()
    filled.vacuum()
    (manifest,) = read_manifests(filled.folder, filled.tables)
    files = [file for part in manifest.tables.values() for file in part.files]
    files += [file for part in manifest.projections.values() for file in part]
    for file in files:
        data = filled.folder.read(file.path)
        assert (len(data), f"xxh3-128:{xxh3_128_hexdigest(data)}") == (file.bytes, file.checksum)
    rows = sum(marker.rows["edges"] for marker in filled.committed())
    assert sum(file.rows for file in manifest.tables["edges"].files) == rows


def test_a_vacuum_keeps_what_the_newest_version_holds(filled: Output) -> None:
    before = rows_of(filled, "edges")
    filled.compact()
    commit(filled, range(40, 42))
    filled.compact(everything=True)
    deleted = filled.vacuum()
    assert deleted.files == 5 * len(TABLES) + len(TABLES) + len(PROJECTIONS) + 1
    listed = (*map(data_folder, TABLES), *map(projection_folder, PROJECTIONS), "_compactions")
    assert [len(list(filled.folder.list(name))) for name in listed] == [1] * len(listed)
    assert set(before) < set(rows_of(filled, "edges"))
    assert set(filled.snapshot().projections) == set(PROJECTIONS)
    assert filled.vacuum().files == 0


@pytest.mark.parametrize("step", ["_write", "_publish"])
def test_a_compaction_that_dies_changes_nothing_and_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    output = Output(tmp_path)
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    commit(output, range(2))
    before = {table: rows_of(output, table) for table in TABLES}

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compaction_module, step, die)
        with pytest.raises(KeyboardInterrupt):
            output.compact()
    assert {table: rows_of(output, table) for table in TABLES} == before
    assert output.snapshot().projections == {}
    left = [*tmp_path.rglob("compacted-*"), *tmp_path.glob("_compactions/*")]
    assert bool(left) == (step == "_publish")
    assert output.vacuum().files == 0
    for path in left:
        os.utime(path, times=(0, time.time() - 2 * LEFTOVER_AGE))
    output.compact()
    assert not any(path.exists() for path in left)
    assert {table: rows_of(output, table) for table in TABLES} == before


@pytest.mark.parametrize("step", [0, 4, 9])
def test_a_compaction_that_fails_takes_away_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Whatever it was about to write, and with half of that file written."""
    output = Output(tmp_path)
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    commit(output, range(2))
    output.publish(RUN_KEY)
    before = {table: rows_of(output, table) for table in TABLES}
    there = {path for path in tmp_path.rglob("*") if path.is_file()}
    left = step
    synced = local._write_synced

    def write_synced(path: Path, data: bytes) -> None:
        nonlocal left
        if "compacted" in path.name or "_compactions" in path.parts:
            left -= 1
        if left < 0:
            with suppress(FileExistsError):
                synced(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(local, "_write_synced", write_synced)
        with pytest.raises(StoreError, match="No space left on device"):
            output.compact()
    kept = {path for path in tmp_path.rglob("*") if path.is_file()} - there
    assert kept == set()
    assert {table: rows_of(output, table) for table in TABLES} == before
    assert output.compact()
    assert {table: rows_of(output, table) for table in TABLES} == before


def test_readers_between_the_tables_versions_see_every_row(
    filled: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {table: rows_of(filled, table) for table in TABLES}
    publish = compaction_module._publish

    def publish_and_read(*arguments: object) -> None:
        publish(*arguments)
        assert {table: rows_of(filled, table) for table in TABLES} == before

    monkeypatch.setattr(compaction_module, "_publish", publish_and_read)
    filled.compact()


def test_of_two_compactions_one_counts(filled: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    write = compaction_module._write

    def lose_the_race(*arguments: object) -> object:
        monkeypatch.setattr(compaction_module, "_write", write)
        compact(filled.stored)  # past the lease, which keeps out all but those that slept while they lost it
        return write(*arguments)

    monkeypatch.setattr(compaction_module, "_write", lose_the_race)
    with pytest.raises(StoreError, match=r"another process changed 'failures' of .* while it was compacted"):
        filled.compact()
    assert filled.dataset("edges").count_rows() == 8 * 300
    assert delta(filled, "edges").to_pyarrow_table().num_rows == 8 * 300


def test_a_night_that_publishes_meanwhile_is_kept(filled: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    write = compaction_module._write

    def publish_first(*arguments: object) -> object:
        commit(filled, range(40, 42))
        filled.publish(RUN_KEY)
        return write(*arguments)

    monkeypatch.setattr(compaction_module, "_write", publish_first)
    filled.compact()
    assert delta(filled, "graphs").to_pyarrow_table().num_rows == 10
    assert filled.dataset("graphs").count_rows() == 10


def test_files_say_what_they_hold(filled: Output) -> None:
    filled.compact()
    (added,) = [
        json.loads(line)["add"]
        for line in filled.folder.read(f"edges/_delta_log/{2:020}.json").splitlines()
        if b'"add"' in line
    ]
    keys = filled.dataset("graphs").to_table()["prompt_key"].to_pylist()
    stats = json.loads(added["stats"])
    assert (stats["minValues"]["prompt_key"], stats["maxValues"]["prompt_key"]) == (min(keys), max(keys))
    assert not added["dataChange"]
    with filled.folder.fs.open(filled.folder.path(f"edges/{added['path']}")) as opened:
        file = pq.ParquetFile(opened)
        assert file.schema_arrow.field("weight").metadata[b"meaning"]
        assert file.metadata.row_group(0).column(0).statistics.has_min_max


def test_bloom_filters_exclude_features_that_statistics_cannot(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string()), ("tags", pa.list_(pa.int64()))]))
    commit(output, range(2))
    output.compact()
    (path,) = tmp_path.glob("edges/_data/compacted-*.parq")
    features = set(output.dataset("edges").to_table()["source_feature"].drop_null().to_pylist())
    absent = [feature for feature in range(200, 1000) if feature not in features]
    probe = "select bloom_filter_excludes from parquet_bloom_probe(?, 'source_feature', ?)"
    connection = output.duckdb()
    excluded = [connection.execute(probe, [str(path), feature]).fetchone()[0] for feature in absent]
    assert sum(excluded) > 0.9 * len(absent)
    assert not any(connection.execute(probe, [str(path), feature]).fetchone()[0] for feature in features)
