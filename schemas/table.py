"""Tables: Arrow schemas whose columns carry their meaning and unit, and how to store them.

Meaning and unit are field metadata, so they travel: from here into every Parquet footer, into the
published Delta schema and onto the page that `circuit-sweep schema` prints. No second list to keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

ROW_GROUP_ROWS = 128 * 1024
"""Rows of a row group: large enough for dictionaries to pay off, small enough to read in little memory."""


def column(name: str, type: pa.DataType, meaning: str, unit: str, *, nullable: bool = False) -> pa.Field:
    """A column that says what it means and in what unit it is given."""
    return pa.field(name, type, nullable, metadata={"meaning": meaning, "unit": unit})


def list_of(type: pa.DataType) -> pa.ListType:
    """A list type whose items are named as in Parquet and Delta, so that it is the same after reading."""
    return pa.list_(pa.field("element", type))


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and how they are stored."""

    name: str
    """The table's folder and its name in SQL."""

    row: str
    """Meaning of one row."""

    schema: pa.Schema
    """The columns that every sweep writes, made with `column`."""

    key: tuple[str, ...]
    """Columns that together name a row."""

    byte_stream_split: tuple[str, ...] = ()
    """Measured floats: their mantissas are noise, so bytes of equal place are stored side by side."""

    delta: tuple[str, ...] = ()
    """Integers that ascend over long runs of rows: their differences are stored."""

    plain: tuple[str, ...] = ()
    """Columns of long or ever-different values, for which a dictionary would be a second copy."""

    takes_columns: bool = False
    """True where the prompts' extra columns are appended."""

    def with_columns(self, extra_columns: pa.Schema) -> pa.Schema:
        """The schema of one sweep: these columns, then the user's where this table takes them."""
        return pa.schema([*self.schema, *extra_columns]) if self.takes_columns else self.schema

    def meaning(self, name: str) -> str:
        """Return the meaning of the column `name`."""
        return self.schema.field(name).metadata[b"meaning"].decode()

    def unit(self, name: str) -> str:
        """The unit of the column `name`."""
        return self.schema.field(name).metadata[b"unit"].decode()
