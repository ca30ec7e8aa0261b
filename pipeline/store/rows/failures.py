"""Rows that need no graph: failures, and the rows of a shard put together. Nothing here waits for torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.errors import StoreError
from pipeline.store.rows.extra_columns import NO_COLUMNS
from pipeline.store.rows.records import FailedPrompt
from schemas import TABLES


def failure_tables(prompt: FailedPrompt, extra_columns: pa.Schema = NO_COLUMNS) -> dict[str, pa.Table]:
    """Return the row of one prompt that could not be traced, by table."""
    values = {name: getattr(prompt, name) for name in TABLES["failures"].schema.names}
    return {
        "failures": row(
            "failures",
            values | extra_values(prompt.extra_columns, extra_columns, strict=False),
            extra_columns,
        )
    }


def join_tables(prompts: Iterable[Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    """Return the rows of a shard, by table, in the order of its prompts."""
    parts: dict[str, list[pa.Table]] = {}
    for tables in prompts:
        for name, rows in tables.items():
            parts.setdefault(name, []).append(rows)
    return {name: pa.concat_tables(rows) for name, rows in parts.items()}


def row(table: str, values: Mapping[str, Any], extra_columns: pa.Schema) -> pa.Table:
    """Return one row of a table that takes extra columns."""
    return pa.Table.from_pylist([dict(values)], schema=TABLES[table].with_columns(extra_columns))


def extra_values(values: Mapping[str, Any], extra_columns: pa.Schema, *, strict: bool) -> dict[str, Any]:
    """Return the extra values, each in its column's type.

    Raises:
        StoreError: a value is not of its column's type; without `strict` it becomes null instead.

    """
    fitting = {}
    for field in extra_columns:
        try:
            fitting[field.name] = pa.array([values.get(field.name)], field.type)[0].as_py()
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            if strict:
                raise StoreError(
                    f"column {field.name!r}: {values[field.name]!r} is not of the column's type {field.type} "
                    f"({error}). Give all prompts values of one type, or leave it out of `prompts.columns`."
                ) from error
    return fitting
