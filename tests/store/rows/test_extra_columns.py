from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.errors import ConfigurationError
from pipeline.store.rows.extra_columns import columns_from_json, columns_to_json, extra_columns_schema
from schemas import list_of


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (pa.bool_(), pa.bool_()),
        (pa.int8(), pa.int8()),
        (pa.uint8(), pa.int64()),
        (pa.uint64(), pa.int64()),
        (pa.float16(), pa.float32()),
        (pa.float64(), pa.float64()),
        (pa.null(), pa.string()),
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int32(), pa.large_string()), pa.string()),
        (pa.binary(), pa.binary()),
        (pa.date32(), pa.date32()),
        (pa.timestamp("s"), pa.timestamp("us", tz="UTC")),
        (pa.timestamp("ns", tz="Europe/Berlin"), pa.timestamp("us", tz="UTC")),
        (pa.decimal128(10, 2), pa.decimal128(10, 2)),
        (pa.large_list(pa.uint32()), list_of(pa.int64())),
        (pa.struct([("a", pa.large_string())]), pa.struct([("a", pa.string())])),
    ],
    ids=str,
)
def test_types_become_what_delta_knows_and_survive_json(given: pa.DataType, stored: pa.DataType) -> None:
    columns = extra_columns_schema(pa.schema([("value", given)]))
    assert columns.field("value").type == stored
    assert columns_from_json(columns_to_json(columns)).equals(columns, check_metadata=True)


@pytest.mark.parametrize("type", [pa.duration("s"), pa.time64("us"), pa.list_(pa.duration("s"))], ids=str)
def test_types_that_cannot_be_stored_are_refused(type: pa.DataType) -> None:
    with pytest.raises(ConfigurationError, match=r"column 'took' of the prompts has type .*duration|time64"):
        extra_columns_schema(pa.schema([("took", type)]))


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="One is named twice"):
        extra_columns_schema(pa.schema([("a", pa.int64()), ("a", pa.string())]))
