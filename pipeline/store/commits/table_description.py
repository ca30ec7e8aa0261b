"""Descriptions of tables, as an output's claim stores them: with them, no reader needs a list of the kinds.

They come back from a file that anybody may have written, so names, sizes and references are checked before
anything is opened by them. Columns are an Arrow schema in IPC form, which keeps meanings, units and types.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas import TABLES, Table

MOST_COLUMNS = 1000

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""The name of a table, which is also a folder's and stands in SQL: lower-case letters, digits and `_`."""

Columns = Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=MOST_COLUMNS)]


class TableDescription(BaseModel):
    """All that a `Table` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    row: Annotated[str, Field(max_length=1000)]
    columns: Annotated[str, Field(max_length=1 << 20)]
    """Arrow schema as an IPC message, in base64."""

    key: Columns
    byte_stream_split: Columns
    delta: Columns
    plain: Columns
    takes_columns: bool

    @classmethod
    def of(cls, table: Table) -> TableDescription:
        """Describe a table.

        Raises:
            pydantic.ValidationError: it cannot be stored.

        """
        return cls(
            name=table.name,
            row=table.row,
            columns=base64.b64encode(table.schema.serialize()).decode(),
            key=table.key,
            byte_stream_split=table.byte_stream_split,
            delta=table.delta,
            plain=table.plain,
            takes_columns=table.takes_columns,
        )

    @cached_property
    def table(self) -> Table:
        """The table that is described."""
        return Table(
            self.name,
            self.row,
            self._schema,
            self.key,
            self.byte_stream_split,
            self.delta,
            self.plain,
            self.takes_columns,
        )

    @cached_property
    def _schema(self) -> pa.Schema:
        try:
            return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.columns, validate=True)))
        except (binascii.Error, pa.ArrowException, OSError) as error:
            raise ValueError(f"the columns of table {self.name!r} cannot be read: {error}") from error

    @model_validator(mode="after")
    def _check(self) -> TableDescription:
        schema, names = self._schema, self._schema.names
        if len(names) > MOST_COLUMNS or len(set(names)) < len(names):
            raise ValueError(f"table {self.name!r} has a column twice, or more than {MOST_COLUMNS}")
        if "prompt_key" not in names or schema.field("prompt_key").type != pa.int64():
            raise ValueError(f"table {self.name!r} needs a column `prompt_key` of type int64")
        for field in schema:
            if isinstance(field.type, pa.BaseExtensionType):
                raise ValueError(f"column {field.name!r} of table {self.name!r} has an extension type")
            if not {b"meaning", b"unit"} <= (field.metadata or {}).keys():
                raise ValueError(f"column {field.name!r} of table {self.name!r} has no meaning or no unit")
        for column in (*self.key, *self.byte_stream_split, *self.delta, *self.plain):
            if column not in names:
                raise ValueError(f"table {self.name!r} names {column!r}, which is none of its columns")
        # Readers take the tables of these names for a sweep's: they check references and sort projections.
        if self.name in TABLES and not schema.equals(TABLES[self.name].schema):
            raise ValueError(f"table {self.name!r} has other columns than a sweep's table of that name")
        return self


def _check_together(tables: tuple[TableDescription, ...]) -> tuple[TableDescription, ...]:
    names = [table.name for table in tables]
    if len(set(names)) < len(names):
        raise ValueError(f"of the tables {', '.join(names)} two have one name")
    if "failures" not in names[1:]:
        raise ValueError(f"of the tables {', '.join(names)} none after the first is `failures`")
    return tables


Tables = Annotated[tuple[TableDescription, ...], Field(max_length=64), AfterValidator(_check_together)]
"""The tables of an output, the one with a row for each prompt that is done first."""


def described(tables: Iterable[Table]) -> tuple[TableDescription, ...]:
    """Describe tables; see `TableDescription.of`."""
    return tuple(map(TableDescription.of, tables))


def column_types(tables: Iterable[TableDescription]) -> Mapping[str, Mapping[str, str]]:
    """Types of the columns by table: what has to be the same for rows to lie in one table."""
    return {one.name: {field.name: str(field.type) for field in one.table.schema} for one in tables}
