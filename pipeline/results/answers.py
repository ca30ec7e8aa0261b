"""Answers to queries, written down: as a table for people, or as CSV, JSON or Parquet for programs."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stdout
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal

import duckdb

from pipeline.errors import QueryError
from pipeline.results.results import explained

Format = Literal["table", "csv", "json", "parquet"]

COPY_OPTIONS = {
    "csv": "format csv, header true",
    "json": "format json, array true",
    "parquet": "format parquet, compression zstd",
}
"""What DuckDB is told to write each format."""


ROWS_ON_TERMINAL, ROWS_IN_FILE = 40, 10_000
"""Most rows that a table shows; the other formats hold all."""

WIDTH_IN_FILE = 1000
"""Most characters a line of a table that is not shown on a terminal."""


def write(
    answer: duckdb.DuckDBPyRelation, format: Format | None, file: Path | None, stdout: TextIOWrapper
) -> None:
    """Write an answer where and how the user wants it.

    Raises:
        QueryError: the query fails on its rows, or the file or the format does not fit.

    """
    format = format or _format_of(file)
    if format == "table":
        if file is None:
            print(as_table(answer, *_limits(stdout)), file=stdout)
        else:
            _check_folder(file)
            file.write_text(as_table(answer, WIDTH_IN_FILE, ROWS_IN_FILE) + "\n")
    elif file is not None:
        write_file(answer, format, file)
    elif format == "parquet" and stdout.isatty():
        raise QueryError("Parquet is not for a terminal: give --file, or send it on with | or >.")
    else:
        write_stream(answer, format, stdout.buffer)


def _format_of(file: Path | None) -> Format:
    endings: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}
    if file is None:
        return "table"
    if file.suffix not in endings:
        raise QueryError(f"--file {file}: its ending is none of {', '.join(endings)}, so give --format too.")
    return endings[file.suffix]


def _limits(stdout: TextIOWrapper) -> tuple[int, int]:
    if stdout.isatty():
        return shutil.get_terminal_size().columns, ROWS_ON_TERMINAL
    return WIDTH_IN_FILE, ROWS_IN_FILE


def as_table(answer: duckdb.DuckDBPyRelation, width: int, rows: int) -> str:
    """Return an answer as a table of at most so many characters and rows; it says how many there are.

    Raises:
        QueryError: the query fails on its rows.

    """
    text = io.StringIO()
    with explained(), redirect_stdout(text):
        answer.show(max_width=width, max_rows=rows)
    return text.getvalue().rstrip("\n")


def write_file(answer: duckdb.DuckDBPyRelation, format: Format, path: Path) -> None:
    """Write a whole answer to a file.

    Raises:
        QueryError: the query fails on its rows, or the file cannot be written.

    """
    _check_folder(path)
    quoted = str(path).replace("'", "''")
    with explained():
        answer.query("answer", f"copy (from answer) to '{quoted}' ({COPY_OPTIONS[format]})")


def write_stream(answer: duckdb.DuckDBPyRelation, format: Format, stream: BinaryIO) -> None:
    """Write a whole answer to a stream, once all of it is there: a failing query writes nothing."""
    with TemporaryDirectory(prefix="circuit-sweep-") as folder:
        path = Path(folder, "answer")
        write_file(answer, format, path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, stream)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise QueryError(f"{path} cannot be written: there is no folder {path.parent}.")
