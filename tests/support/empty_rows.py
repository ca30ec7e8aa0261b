"""Rows that say nothing."""

from __future__ import annotations

import pyarrow as pa

from schemas import TABLES

EMPTY = {"string": "", "int64": 0, "int32": 0, "double": 0.0, "timestamp[us, tz=UTC]": 0}


def empty_row(table: str, prompt_key: int) -> pa.Table:
    """Return a row of a table that holds only its prompt's key."""
    schema = TABLES[table].schema
    values = {field.name: EMPTY.get(str(field.type), []) for field in schema}
    return pa.Table.from_pylist([values | {"prompt_key": prompt_key}], schema)
