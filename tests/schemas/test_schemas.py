from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import Schema as DeltaSchema

from schemas import EVERY_TABLE, PAIR_TABLES, TABLES, VALIDATION_TABLES, Table


@pytest.fixture(params=EVERY_TABLE.values(), ids=EVERY_TABLE)
def table(request: pytest.FixtureRequest) -> Table:
    return request.param


def test_every_column_says_its_meaning_and_unit(table: Table) -> None:
    for name in table.schema.names:
        assert len(table.meaning(name)) > 5
        assert table.unit(name)


def test_keys_and_encodings_name_columns_that_exist(table: Table) -> None:
    assert {*table.key, *table.byte_stream_split, *table.delta, *table.plain} <= set(table.schema.names)


def test_a_column_of_a_name_has_one_type_in_all_tables_of_a_kind() -> None:
    """What is joined or compared must not differ in its last bits by where it stands."""
    types: dict[str, set[str]] = {}
    for table in (*VALIDATION_TABLES.values(), *PAIR_TABLES.values()):
        for field in table.schema:
            types.setdefault(field.name, set()).add(str(field.type))
    assert not {name: found for name, found in types.items() if len(found) > 1}


def test_measured_floats_are_split_by_byte(table: Table) -> None:
    floats = {field.name for field in table.schema if field.type == pa.float32()}
    # `stability` counts prunings: sixteen values, which a dictionary holds better.
    assert set(table.byte_stream_split) == floats - {"stability"}


def test_delta_and_parquet_know_the_types(table: Table) -> None:
    """Delta has no dictionaries and no unsigned integers; all other types come back as they are."""
    arrow = pa.schema(DeltaSchema.from_arrow(table.schema).to_arrow())
    for field in table.schema:
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        assert arrow.field(field.name).type == plain


def test_extra_columns_are_appended_where_a_row_is_a_prompt() -> None:
    extra_columns = pa.schema([("family", pa.string())])
    takers = {name for name, table in TABLES.items() if table.with_columns(extra_columns) != table.schema}
    assert takers == {"graphs", "failures"}
    assert TABLES["graphs"].with_columns(extra_columns).names[-1] == "family"
