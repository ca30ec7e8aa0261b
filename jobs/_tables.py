"""Write the rows that a command found, in every command alike: `--format` says how and `--output` where.

A command takes the options as a field, `rows: Annotated[TableOptions, tyro.conf.arg(name="")]`, and hands
them with its answer to `write_rows`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TextIO

from pipeline.errors import ConfigurationError
from pipeline.untrusted import printable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Format = Literal["table", "csv", "json", "parquet"]

FORMATS: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}
"""Formats by the suffix of the file that is written."""

ROWS_ON_TERMINAL, ROWS_IN_FILE = 40, 10_000
"""Most rows that a table shows; the other formats hold all."""

WIDTH_IN_FILE = 1000
"""Most characters in a line of a table that is not shown on a terminal."""


@dataclass(frozen=True)
class TableOptions:
    """Format and destination of rows."""

    format: Format | None = None
    """Format of the rows (default: by the suffix of --output, else table)."""

    output: Path | None = None
    """File that receives the rows (default: standard output)."""

    @property
    def given(self) -> bool:
        """True if the user asked for rows, so that a report for people is not what they want."""
        return self.format is not None or self.output is not None

    def chosen_format(self) -> Format:
        """Return the format that is asked for, by name or by the file's suffix.

        Raises:
            ConfigurationError: the suffix names no format and none is given.

        """
        if self.format is not None or self.output is None:
            return self.format or "table"
        suffix = self.output.suffix.lower()
        if suffix not in FORMATS:
            raise ConfigurationError(
                f"--output {self.output}: the suffix {suffix!r} is none of {', '.join(FORMATS)}, "
                "so give --format too."
            )
        return FORMATS[suffix]


@dataclass(frozen=True)
class ReportOptions:
    """Format and destination of a report that is more than rows."""

    format: Literal["table", "json"] = "table"
    """`table` is for people; `json` holds everything, in one object."""

    output: Path | None = None
    """File that receives the report (default: standard output)."""

    @contextmanager
    def opened(self) -> Iterator[TextIO]:
        """Open what receives the report.

        Raises:
            ConfigurationError: the file cannot be written.

        """
        if self.output is None:
            yield sys.stdout
            return
        with writable(self.output), self.output.open("w", encoding="utf-8") as file:
            yield file


@contextmanager
def writable(file: Path) -> Iterator[None]:
    """Explain to the user why a file of theirs cannot be written."""
    if not file.parent.is_dir():
        raise ConfigurationError(f"--output {file}: there is no folder {file.parent}.")
    if file.is_dir():
        raise ConfigurationError(f"--output {file} is a folder: name a file in it.")
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"--output {file} cannot be written: {error.strerror or error}.") from error


def write_rows(
    rows: duckdb.DuckDBPyRelation | pa.Table, options: TableOptions, stdout: TextIOWrapper | None = None
) -> None:
    """Write rows where and how the user wants them.

    Raises:
        ConfigurationError: the file cannot be written, or the format does not fit.
        QueryError: the query behind the rows fails.

    """
    import duckdb

    from pipeline.results import as_table

    relation = rows if isinstance(rows, duckdb.DuckDBPyRelation) else duckdb.from_arrow(rows)
    format, file, stdout = options.chosen_format(), options.output, stdout or sys.stdout
    if file is not None:
        with writable(file):
            if format == "table":
                file.write_text(as_table(relation, WIDTH_IN_FILE, ROWS_IN_FILE) + "\n")
            else:
                _write_file(rows, relation, format, file)
    elif format == "table":
        width, most = (
            (shutil.get_terminal_size().columns, ROWS_ON_TERMINAL)
            if stdout.isatty()
            else (WIDTH_IN_FILE, ROWS_IN_FILE)
        )
        print(printable(as_table(relation, width, most)), file=stdout)
    elif format == "parquet" and stdout.isatty():
        raise ConfigurationError(
            "--format parquet: a terminal cannot show Parquet; give --output, or send it on with | or >."
        )
    else:
        # By way of a file, so that a query that fails halfway has written nothing.
        with TemporaryDirectory(prefix="circuit-sweep-") as folder:
            whole = Path(folder, "rows")
            _write_file(rows, relation, format, whole)
            if stdout.isatty():  # a program gets every byte, a person none that acts on the terminal
                print(printable(whole.read_text()), end="", file=stdout)
                return
            with whole.open("rb") as stream:
                shutil.copyfileobj(stream, stdout.buffer)


def _write_file(
    rows: duckdb.DuckDBPyRelation | pa.Table, relation: duckdb.DuckDBPyRelation, format: Format, file: Path
) -> None:
    import duckdb

    from pipeline.results import write_file

    if format == "parquet" and not isinstance(rows, duckdb.DuckDBPyRelation):
        import pyarrow.parquet as pq

        pq.write_table(rows, file)  # DuckDB would drop the columns' meanings and units
    else:
        write_file(relation, format, file)
