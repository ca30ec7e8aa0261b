"""Extra columns: those of the prompts that go along into `graphs` and `failures`.

Their types are fixed once for a sweep, because files of one table must agree, and are brought to what
Delta Lake knows (no unsigned integers, one kind of string, time in microseconds).
"""

from __future__ import annotations

import json

import pyarrow as pa
from deltalake import Schema as DeltaSchema

from pipeline.errors import ConfigurationError
from schemas import TABLES, column, list_of

NO_COLUMNS = pa.schema([])
"""No extra columns."""


def extra_columns_schema(columns: pa.Schema) -> pa.Schema:
    """Return the columns as they are stored.

    Raises:
        ConfigurationError: a name is taken or stands twice, or a type cannot be stored.

    """
    taken = {name for table in TABLES.values() if table.takes_columns for name in table.schema.names}
    if collisions := [name for name in columns.names if name in taken]:
        raise ConfigurationError(
            f"`prompts.columns`: {', '.join(collisions)} would collide with columns that `graphs` or "
            "`failures` has of its own (`circuit-sweep schema` lists them). Rename them in the prompts."
        )
    if len(set(columns.names)) < len(columns.names):
        raise ConfigurationError(
            f"`prompts.columns`: {', '.join(columns.names)}. One is named twice; name each once."
        )
    return pa.schema([_extra_column(field) for field in columns])


def _extra_column(field: pa.Field) -> pa.Field:
    type = storable(field.name, field.type)
    return column(field.name, type, f"Column {field.name!r} of the prompts", "as given", nullable=True)


def storable(name: str, type: pa.DataType) -> pa.DataType:
    """Return the type in which a column's values are stored.

    Raises:
        ConfigurationError: Delta Lake has no such type.

    """
    match type:
        case _ if pa.types.is_null(type) or pa.types.is_large_string(type) or type == pa.string_view():
            return pa.string()
        case _ if pa.types.is_dictionary(type):
            return storable(name, type.value_type)
        case _ if pa.types.is_unsigned_integer(type):
            return pa.int64()
        case _ if pa.types.is_float16(type):
            return pa.float32()
        case _ if pa.types.is_timestamp(type):
            return pa.timestamp("us", tz="UTC")
        case _ if pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type):
            return list_of(storable(name, type.value_type))
        case _ if pa.types.is_struct(type):
            return pa.struct([(f.name, storable(f"{name}.{f.name}", f.type)) for f in type])
        case _ if _delta_knows(type):
            return type
    raise ConfigurationError(
        f"column {name!r} of the prompts has type {type}, which Delta Lake cannot store. Make it text or a "
        "number there, or leave it out of `prompts.columns`."
    )


def columns_to_json(columns: pa.Schema) -> dict:
    """Return the columns in Delta's JSON notation."""
    return json.loads(DeltaSchema.from_arrow(columns).to_json())


def columns_from_json(columns: dict) -> pa.Schema:
    """Return the columns that `columns_to_json` wrote down."""
    arrow = pa.schema(DeltaSchema.from_json(json.dumps(columns)).to_arrow())
    return extra_columns_schema(arrow)


def _delta_knows(type: pa.DataType) -> bool:
    try:
        DeltaSchema.from_arrow(pa.schema([("value", type)]))
    except Exception:  # deltalake raises a bare Exception
        return False
    return True
