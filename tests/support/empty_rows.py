"""Rows that say nothing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from schemas import TABLES


def empty_row(table: str, prompt_key: int) -> pa.Table:
    """Return a row of a table that holds only its prompt's key."""
    schema = TABLES[table].schema
    values = {field.name: _empty(field) for field in schema}
    return pa.Table.from_pylist([values | {"prompt_key": prompt_key}], schema)


def _empty(field: pa.Field) -> Any:
    if field.nullable:
        return None
    if pa.types.is_list(field.type):
        return []
    return "" if pa.types.is_string(field.type) else 0
