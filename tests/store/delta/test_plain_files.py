"""Tables read by tools that know nothing of this package, before and after they are compacted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline.store.commits.keys import shard_id
from pipeline.store.delta import read_log, show_last_version
from pipeline.store.files.data_folder import DataFolder
from pipeline.store.files.local import LocalFolder
from pipeline.store.files.s3 import S3Folder
from pipeline.store.layout import UPKEEP
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from pipeline.store.verify.checks import verify
from schemas import TABLES
from tests.support.random_graphs import random_prompt

RUN_KEY = -7


def commit(output: Output, seed: int) -> None:
    prompt = random_prompt(seed)
    failed = FailedPrompt(seed, f"bad-{seed}", RUN_KEY, "", "tokenize", "PromptError", "empty")
    rows = join_tables([graph_tables(prompt), failure_tables(failed)])
    assert output.commit(shard_id([prompt.prompt_key, seed], RUN_KEY), rows)


def duckdb_rows(pattern: str) -> int:
    return duckdb.sql(f"select count(*) from read_parquet('{pattern}')").fetchall()[0][0]


READERS: dict[str, Callable[[Path], int]] = {
    "pandas": lambda folder: len(pd.read_parquet(folder)),
    "DuckDB *": lambda folder: duckdb_rows(f"{folder}/*.parquet"),
    "DuckDB **": lambda folder: duckdb_rows(f"{folder}/**/*.parquet"),
    "pyarrow": lambda folder: ds.dataset(folder).count_rows(),
    "Polars *": lambda folder: pl.scan_parquet(f"{folder}/*.parquet").collect().height,
    "Polars **": lambda folder: pl.scan_parquet(f"{folder}/**/*.parquet").collect().height,
    "Delta": lambda folder: pl.scan_delta(str(folder)).collect().height,
}


def seen(folder: Path) -> dict[str, dict[str, int]]:
    """Rows of each table, by reader."""
    return {name: {t: read(folder / t) for t in TABLES} for name, read in READERS.items()}


def ours(output: Output) -> dict[str, int]:
    return {table: output.dataset(table).count_rows() for table in TABLES}


def agree(folder: Path) -> bool:
    rows = ours(Output(folder))
    return all(found == rows for found in seen(folder).values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two nights of two shards each, and a loser of a race for one of them."""
    output = Output(tmp_path / "out")
    output.claim({}, RUN_KEY)
    for night in range(2):
        commit(output, 2 * night)
        commit(output, 2 * night + 1)
        lost = graph_tables(random_prompt(2 * night))
        assert (
            output.commit(shard_id([random_prompt(2 * night).prompt_key, 2 * night], RUN_KEY), lost) is None
        )
        output.publish(RUN_KEY)
    return tmp_path / "out"


def test_every_reader_sees_every_row_once_at_all_times(folder: Path) -> None:
    first = {t: pl.scan_delta(f"{folder}/{t}", version=0).collect() for t in TABLES}
    assert first["graphs"].height == 2
    for change in (lambda: None, Output(folder).compact):
        change()
        assert agree(folder)
        for table, rows in first.items():
            assert pl.scan_delta(f"{folder}/{table}", version=0).collect().equals(rows)
    commit(Output(folder), 4)
    Output(folder).compact()
    assert agree(folder)
    Output(folder).compact(everything=True)
    assert agree(folder)
    assert Output(folder).vacuum().files
    assert agree(folder)
    assert verify(str(folder)).parts[0].notes == []


def test_second_names_take_no_room_on_a_local_disk(folder: Path) -> None:
    plain = sorted(folder.glob("*/*.parquet"))
    data = {path.stat().st_ino for path in folder.glob("*/_data/*.parq")}
    assert len(plain) == 4 * len(TABLES)
    assert data >= {path.stat().st_ino for path in plain}


def test_on_s3_readers_see_every_row_once(s3_url: str) -> None:
    output = Output(s3_url)
    output.claim({}, RUN_KEY)
    for seed in range(2):
        commit(output, seed)
    output.publish(RUN_KEY)
    for _ in range(2):
        for table, rows in ours(output).items():
            path = output.folder.path(table)
            assert ds.dataset(path, filesystem=output.folder.fs).count_rows() == rows
            query = f"select count(*) from read_parquet('s3://{path}/**/*.parquet')"
            assert duckdb_with(output).sql(query).fetchall() == [(rows,)]
        output.compact()


def duckdb_with(output: Output) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register_filesystem(output.folder.fs)
    return connection


def once_after(
    monkeypatch: pytest.MonkeyPatch, kind: type[DataFolder], method: str, name: str, act: Callable[[], object]
) -> None:
    """Let another process act after a folder is first asked this about a name."""
    asked = getattr(kind, method)
    waiting = [act]

    def ask(folder: DataFolder, first: str, *rest: str) -> object:
        answer = list(asked(folder, first, *rest)) if method == "list" else None
        if first == name and waiting:
            waiting.pop()()
        return answer if method == "list" else asked(folder, first, *rest)

    monkeypatch.setattr(kind, method, ask)


def without_names(output: Output, table: str = "graphs") -> None:
    """Two rows in two files that are published, as a process leaves them that dies before it names them."""
    output.claim({}, RUN_KEY)
    for seed in range(2):
        commit(output, seed)
    output.publish(RUN_KEY)
    output.folder.delete([entry.name for entry in output.folder.list(table)])


def test_no_reader_sees_a_row_twice_when_a_compaction_comes_after_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(tmp_path / "out")
    without_names(output)
    once_after(monkeypatch, LocalFolder, "list", "graphs", Output(output.url).compact)
    link, rows = LocalFolder.link, []

    def counted(folder: LocalFolder, name: str, second: str) -> None:
        link(folder, name, second)
        names = (tmp_path / "out/graphs").glob("*.parquet")
        rows.append(sum(pq.read_metadata(path).num_rows for path in names))

    monkeypatch.setattr(LocalFolder, "link", counted)
    show_last_version(output.folder, "graphs")
    assert max(rows) == 2
    assert agree(tmp_path / "out")


@pytest.mark.parametrize("vacuums", [False, True])
def test_a_compaction_while_names_come_leaves_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vacuums: bool
) -> None:
    output, other = Output(tmp_path / "out"), Output(tmp_path / "out")
    without_names(output)
    (old, _) = read_log(output.folder, "graphs").live

    def act() -> None:
        other.compact()
        if vacuums:
            assert other.vacuum().files

    once_after(monkeypatch, LocalFolder, "link", old, act)
    show_last_version(output.folder, "graphs")
    assert duckdb_rows(f"{output.url}/graphs/*.parquet") == 2
    assert agree(tmp_path / "out")


def test_on_s3_a_vacuum_while_names_come_leaves_every_row_once(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, other = Output(s3_url), Output(s3_url)
    without_names(output)
    (old, _) = read_log(output.folder, "graphs").live

    def act() -> None:
        other.compact()
        assert other.vacuum().files

    once_after(monkeypatch, S3Folder, "link", old, act)
    show_last_version(output.folder, "graphs")
    path = output.folder.path("graphs")
    query = f"select count(*) from read_parquet('s3://{path}/*.parquet')"
    assert duckdb_with(output).sql(query).fetchall() == [(2,)]


def test_a_lost_file_is_a_warning_and_the_others_are_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = Output(tmp_path / "out")
    without_names(output)
    (lost, _) = read_log(output.folder, "graphs").live
    output.folder.delete([lost])
    with caplog.at_level(logging.WARNING, "pipeline"):
        show_last_version(output.folder, "graphs")
    assert duckdb_rows(f"{output.url}/graphs/*.parquet") == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{output.url}/graphs" in caplog.text


class Killed(BaseException):
    """A process ends here."""


def kill_after(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Let so many changes of files be done, and no more."""
    done = 0

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def act(*arguments: object) -> object:
            nonlocal done
            if done == left:
                raise Killed
            done += 1
            return change(*arguments)

        return act

    for method in ("write", "create", "replace", "link", "delete"):
        monkeypatch.setattr(LocalFolder, method, counted(getattr(LocalFolder, method)))


def test_a_compaction_killed_at_any_change_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = 0
    while True:
        folder = tmp_path / str(killed)
        output = Output(folder)
        output.claim({}, RUN_KEY, pa.schema([]))
        for seed in range(2):
            commit(output, seed)
        output.publish(RUN_KEY)
        before = ours(output)
        with monkeypatch.context() as patch:
            kill_after(patch, killed)
            try:
                output.compact()
                break
            except Killed:
                killed += 1
        output.folder.delete([UPKEEP])  # its process lives on here, unlike one that was killed
        assert ours(Output(folder)) == before
        assert {t: pl.scan_delta(f"{folder}/{t}").collect().height for t in TABLES} == before
        for table in TABLES:
            names = (folder / table).glob("*.parquet")
            assert sum(map(duckdb_rows, map(str, names))) <= before[table]
        Output(folder).compact()
        assert ours(Output(folder)) == before
        assert agree(folder)
    assert killed > 4 * len(TABLES)
