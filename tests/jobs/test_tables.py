"""Rows that a command found, written as `--format` and `--output` say."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs._tables import ReportOptions, TableOptions, write_rows
from pipeline.errors import ConfigurationError, QueryError

SQL = "select i, 'a,\"' || i as name, [i, 2] as list from range(60) t(i)"


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def stdout(kind: type[io.TextIOWrapper] = io.TextIOWrapper) -> io.TextIOWrapper:
    return kind(io.BytesIO(), encoding="utf-8", write_through=True)


def written(format: str | None, file: Path | None, sql: str = SQL) -> bytes:
    stream = stdout()
    write_rows(duckdb.sql(sql), TableOptions(format, file), stream)
    return file.read_bytes() if file else stream.buffer.getvalue()


@pytest.mark.parametrize("to_file", [False, True])
def test_each_format_holds_every_row(tmp_path: Path, to_file: bool) -> None:
    file = tmp_path / "it's an answer" if to_file else None
    if file:
        file.parent.mkdir(exist_ok=True)
    rows = duckdb.sql(SQL).fetchall()
    assert [tuple(row.values()) for row in json.loads(written("json", file))] == rows
    assert pq.read_table(io.BytesIO(written("parquet", file)))["name"].to_pylist() == [r[1] for r in rows]
    lines = list(csv.reader(io.StringIO(written("csv", file).decode())))
    assert lines[0] == ["i", "name", "list"]
    assert [line[1] for line in lines[1:]] == [row[1] for row in rows]
    table = written("table", file).decode()
    assert "60 rows" in table
    assert 'a,"59' in table


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet", ".txt"])
def test_the_ending_says_the_format(tmp_path: Path, ending: str) -> None:
    format = {".txt": "table"}.get(ending, ending[1:])
    assert written(None, tmp_path / f"a{ending}") == written(format, tmp_path / f"b{ending}")


def test_an_ending_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--output .*answer.*\.csv"):
        written(None, tmp_path / "answer")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--output .*none"):
        written("csv", tmp_path / "none" / "answer.csv")


@pytest.mark.parametrize("format", ["table", "csv", "json", "parquet"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, format: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path))):
        written(format, tmp_path)  # a folder


def test_a_report_goes_to_its_file(tmp_path: Path) -> None:
    with ReportOptions("json", tmp_path / "report.json").opened() as file:
        print("{}", file=file)
    assert (tmp_path / "report.json").read_text() == "{}\n"
    for file in (tmp_path, tmp_path / "none" / "report.json"):
        with (
            pytest.raises(ConfigurationError, match=re.escape(str(file))),
            ReportOptions(output=file).opened(),
        ):
            pass


def test_a_terminal_gets_a_screenful_and_no_bytes() -> None:
    stream = stdout(Terminal)
    write_rows(duckdb.sql(SQL), TableOptions(), stream)
    assert "(40 shown)" in stream.buffer.getvalue().decode()
    with pytest.raises(ConfigurationError, match="--format parquet"):
        write_rows(duckdb.sql(SQL), TableOptions("parquet"), stdout(Terminal))


def test_arrow_tables_are_rows_too() -> None:
    stream = stdout()
    write_rows(pa.table({"a": [1, 2]}), TableOptions("csv"), stream)
    assert stream.buffer.getvalue() == b"a\n1\n2\n"


@pytest.mark.parametrize("format", ["table", "csv", "json", "parquet"])
def test_a_query_that_fails_on_its_rows_writes_nothing(format: str) -> None:
    stream = stdout()
    rows = duckdb.sql("select (case when i = 50 then 'x' else '1' end)::int from range(60) t(i)")
    with pytest.raises(QueryError, match="'x'"):
        write_rows(rows, TableOptions(format), stream)
    assert stream.buffer.getvalue() == b""
