"""Rows to the bytes of a Parquet file.

Measured on edges of pruned graphs: the eight columns of the end points, dictionary-encoded and sorted, take
1.5 to 2.6 bytes an edge; weight and score with bytes of equal significance side by side (BYTE_STREAM_SPLIT)
3.6 and 3.4, instead of 3.7 each: most of a mantissa is noise, which nothing compresses. Differences or plain
integers for the end points gained nothing or lost. Sorting a target's edges by weight would save as much in
the floats as it loses in the end points. zstd at level 9 is 2% smaller than at 3, and its 0.6 microseconds an
edge are nothing beside computing it. The footer, with every column's meaning, is 5 kB a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import ROW_GROUP_ROWS, Table

ZSTD_LEVEL = 9

COMPACTION_LEVEL = 15
"""zstd level of what is written once and read for good: 4% smaller again, 0.8 microseconds an edge."""

BLOOM_VALUES = 16 * 1024
"""Different values a row group's bloom filter is made for: 0.1 bytes a row, 5% of wrong guesses."""


SMALL_PIECE = 1_000
"""Rows a piece below which pieces are joined and then written: 100 of a row take 7.5 ms, joined 3.5."""


def encode(table: Table, rows: pa.Table) -> pa.Buffer:
    """Encode rows as a Parquet file."""
    if rows.num_rows < SMALL_PIECE * rows.column(0).num_chunks:
        rows = rows.combine_chunks()
    sink = pa.BufferOutputStream()
    options = write_options(rows.column_names, table.byte_stream_split, table.delta, table.plain)
    pq.write_table(rows, sink, compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP_ROWS, **options)
    return sink.getvalue()


def write_options(
    columns: Iterable[str], byte_stream_split: Iterable[str], delta: Iterable[str], plain: Iterable[str]
) -> dict[str, Any]:
    """Return the options of pyarrow's writer: zstd, and an encoding for each column."""
    encodings = {
        **dict.fromkeys(byte_stream_split, "BYTE_STREAM_SPLIT"),
        **dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
    }
    others = {*encodings, *plain}
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in columns if name not in others],
        "column_encoding": encodings or None,
    }
