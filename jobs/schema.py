"""Describe the tables: every column, what it means and in which unit.

Without names, those that a sweep writes; the names of the others stand below them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas import Table

HEADINGS = ("column", "type", "unit", "meaning")


@dataclass(frozen=True)
class Options:
    """Arguments of the command line."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[TABLE ...]")] = ()
    """Tables to describe."""

    of: Annotated[str | None, tyro.conf.arg(metavar="OUTPUT")] = None
    """Output whose own tables to describe, of whatever kind of work: a folder or an `s3://` URL."""

    markdown: bool = False
    """Print Markdown, to be pasted into a document."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Print the page."""
    from schemas import EVERY_TABLE, TABLES

    options = parse(Options, argv, "schema", __doc__)
    shown, every = (TABLES, EVERY_TABLE) if options.of is None else (tables_of(options.of),) * 2
    tables = chosen(options.names or tuple(shown), every)
    if options.rows.given:
        write_rows(as_rows(tables), options.rows)
        return 0
    if options.markdown:
        print("\n\n".join(map(as_markdown, tables)))
    else:
        print_tables(tables)
    if others := [name for name in every if name not in shown and not options.names]:
        print(f"\nOther tables: {', '.join(others)}.")
    return 0


def tables_of(url: str) -> dict[str, Table]:
    """Return the tables that an output, and those inside it, say they have.

    Raises:
        StoreError: it is no output, or its description cannot be read.

    """
    from pipeline.store import Output

    output = Output(url)
    output.claimed()
    found = dict(output.tables)
    for inner in output.inner().values():
        found |= {name: table for name, table in inner.tables.items() if name not in found}
    return found


def chosen(names: tuple[str, ...], every: Mapping[str, Table]) -> list[Table]:
    """Return tables by name.

    Raises:
        ConfigurationError: there is no table of that name.

    """
    from pipeline.errors import ConfigurationError

    if unknown := [name for name in names if name not in every]:
        raise ConfigurationError(f"no table is called {unknown[0]!r}; there are {', '.join(every)}.")
    return [every[name] for name in names]


def as_markdown(table: Table) -> str:
    """Return one table's description as Markdown."""
    described = [(f"`{name}`", f"`{kind}`", unit, meaning) for name, kind, unit, meaning in rows(table)]
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *described]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    page = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return f"### `{table.name}`\n\nO{summary(table)[1:]}\n\n{page}"


def as_rows(tables: Iterable[Table]) -> pa.Table:
    """Return a row for each column of some tables."""
    import pyarrow as pa

    described = [(table.name, *row) for table in tables for row in rows(table)]
    columns = zip(*described, strict=True)
    return pa.table(dict(zip(("table", *HEADINGS), map(list, columns), strict=True)))


def print_tables(tables: Iterable[Table]) -> None:
    """Print the tables' descriptions to the terminal, in its width, or plainly where there is none."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    from pipeline.untrusted import Console

    # A pipe has no width: wide enough that no line of ours is broken.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables:
        title = Text.assemble((table.name, "bold"), f": {summary(table)}")
        grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for heading in HEADINGS:
            grid.add_column(heading, no_wrap=heading == "column", overflow="fold")
        for row in rows(table):
            grid.add_row(*row)
        console.print(grid)


def summary(table: Table) -> str:
    """Say in a sentence what a row is and what names it."""
    more = " Extra columns of the prompts follow." if table.takes_columns else ""
    return f"one row is {table.row}; named by {', '.join(table.key)}.{more}"


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the columns of a table, each as the cells under `HEADINGS`."""
    return [
        (name, type_name(table.schema.field(name).type), table.unit(name), table.meaning(name))
        for name in table.schema.names
    ]


def type_name(type: pa.DataType) -> str:
    """Spell a type as a reader of the tables meets it: storage encodings left out."""
    import pyarrow as pa

    if pa.types.is_dictionary(type):
        return type_name(type.value_type)
    if pa.types.is_list(type):
        return f"list<{type_name(type.value_type)}>"
    if pa.types.is_struct(type):
        return f"struct<{', '.join(f'{field.name} {type_name(field.type)}' for field in type)}>"
    return "timestamp" if pa.types.is_timestamp(type) else str(type)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
