"""Write the many small files of a sweep as few, and projections sorted by feature.

Queries answer the same, faster: one prompt's rows, or one feature's, are found without reading the rest. The
result is a new published version; the old files, and with them the versions before, stay until --vacuum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.store.compaction import Compacted
    from pipeline.untrusted import Console


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    all: bool = False
    """Also rewrite what was compacted before, so that many compactions become one."""

    vacuum: bool = False
    """Then delete the files that were replaced. Versions from before can no longer be asked, and queries
    that are under way may fail."""


def main(argv: list[str] | None = None) -> int:
    """Compact an output and return 0."""
    arguments = parse(Arguments, argv, "compact", __doc__)

    from pipeline.store import Output
    from pipeline.untrusted import Console

    console = Console(highlight=False)
    output = Output(arguments.output)
    done = output.compact(arguments.all)
    if done:
        _print(console, done)
    else:
        console.print("nothing to do: every published file was compacted before.")
    if arguments.vacuum:
        deleted = output.vacuum()
        console.print(f"deleted {deleted.files:,} replaced files, {deleted.bytes / 1e6:,.1f} MB.")
    return 0


def _print(console: Console, done: list[Compacted]) -> None:
    from rich.table import Table

    table = Table()
    for name in ("table", "rows", "files before", "files", "bytes a row", "projections, bytes a row"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for part in done:
        projections = "\n".join(f"{name} {size / part.rows:.2f}" for name, size in part.projections.items())
        files = (f"{part.files_before:,}", f"{part.files:,}")
        table.add_row(part.table, f"{part.rows:,}", *files, f"{part.bytes / part.rows:.2f}", projections)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
