"""Ask a sweep's tables in SQL, as they are now or were on a date.

Tables: graphs, nodes, edges, activations, failures, and of the present state what `validate` and `aggregate`
made last (`circuit-sweep schema` describes them). Without SQL there is a prompt with a history.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.results import Results

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@dataclass(frozen=True)
class Arguments:
    """What the command line holds."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    sql: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SQL")] = None
    """The query, in DuckDB's SQL."""

    at: str | None = None
    """State to ask: a published version's number, or a date (2026-01-31 means its end; times are UTC)
    [default: all that is committed now]."""

    format: Literal["table", "csv", "json", "parquet"] | None = None
    """How to write the answer [default: by the file's ending, else table]."""

    file: Path | None = None
    """Where to write the answer [default: standard output]."""


def main(argv: list[str] | None = None) -> int:
    """Answer one query, or many at a prompt, and return 0."""
    arguments = tyro.cli(Arguments, args=argv, prog="circuit-sweep query", description=__doc__)

    from pipeline.results import Results

    results = Results(arguments.output, arguments.at)
    try:
        _answer(results, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _answer(results: Results, arguments: Arguments) -> None:
    from rich.console import Console

    from pipeline.errors import ConfigurationError
    from pipeline.results import Shell

    if arguments.sql is None:
        if arguments.format or arguments.file:
            raise ConfigurationError("--format and --file say where one answer goes: give the query too.")
        Shell(results, Console(highlight=False)).run()
    else:
        results.interruptible(lambda: _write(results, arguments))


def _write(results: Results, arguments: Arguments) -> None:
    from pipeline.results import answers as answer

    if arguments.sql is not None and (relation := results.sql(arguments.sql)) is not None:
        answer.write(relation, arguments.format, arguments.file, sys.stdout)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
