"""Ask a sweep's tables in SQL, as of now or of a date.

Tables: graphs, nodes, edges, head_loadings, qk, activations, reconstruction, failures, and of the present
state what `validate` and `aggregate` made last (`circuit-sweep schema` describes them). Without SQL
there is a prompt with a history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.results import Results

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    sql: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SQL")] = None
    """The query, in DuckDB's SQL."""

    at: str | None = None
    """State to ask: a published version's number, or a date (2026-01-31 means its end; times are UTC)
    (default: all that is committed now)."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Answer one query, or many at a prompt, and return 0."""
    arguments = parse(Arguments, argv, "query", __doc__)

    from pipeline.results import Results

    results = Results(arguments.output, arguments.at)
    try:
        _answer(results, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _answer(results: Results, arguments: Arguments) -> None:
    from pipeline.errors import ConfigurationError
    from pipeline.results import Shell
    from pipeline.untrusted import Console

    if arguments.sql is None:
        if arguments.rows.given:
            raise ConfigurationError("--format and --output say where one answer goes: give the query too.")
        Shell(results, Console(highlight=False)).run()
    else:
        results.interruptible(lambda: _write(results, arguments))


def _write(results: Results, arguments: Arguments) -> None:
    if arguments.sql is not None and (relation := results.sql(arguments.sql)) is not None:
        write_rows(relation, arguments.rows)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
