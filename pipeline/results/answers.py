"""Answers to queries, written down: as a table for people, or as CSV, JSON or Parquet for programs."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal

import duckdb

from pipeline.results.results import explained

COPY_OPTIONS = {
    "csv": "format csv, header true",
    "json": "format json, array true",
    "parquet": "format parquet, compression zstd",
}
"""Options of DuckDB's `copy` for each format."""


def as_table(answer: duckdb.DuckDBPyRelation, width: int, rows: int) -> str:
    """Return an answer as a table of at most `width` characters and `rows` rows; it says how many there are.

    Raises:
        QueryError: the query fails on its rows.

    """
    text = io.StringIO()
    with explained(), redirect_stdout(text):
        answer.show(max_width=width, max_rows=rows)
    return text.getvalue().rstrip("\n")


def write_file(
    answer: duckdb.DuckDBPyRelation, format: Literal["csv", "json", "parquet"], path: Path
) -> None:
    """Write a whole answer to a local file.

    Raises:
        QueryError: the query fails on its rows, or the file cannot be written.

    """
    quoted = str(path).replace("'", "''")
    with explained():
        answer.query("answer", f"copy (from answer) to '{quoted}' ({COPY_OPTIONS[format]})")
