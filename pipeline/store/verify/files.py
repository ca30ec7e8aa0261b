"""One data file against what was written down of it: size, checksum, Parquet, rows, columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128, xxh3_128_hexdigest

from pipeline.errors import DamageError, StoreError
from pipeline.store.files import DataFile, DataFolder

BLOCK_BYTES = 16 << 20
"""Bytes of a large file that are held at a time."""


def read_rows(folder: DataFolder, file: DataFile, schema: pa.Schema) -> pa.Table | str:
    """The rows of a file, or what is wrong with it."""
    try:
        data = folder.read(file.path, file.bytes)
    except DamageError as error:
        return _not_ours(folder, file, error)
    except StoreError as error:
        return _unreadable(error)
    if wrong := _wrong_bytes(file, len(data), xxh3_128_hexdigest(data)):
        return wrong
    try:
        # `read_table` sets up a data set for each file, which takes longer than reading a small one.
        rows = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        return f"is no readable Parquet file: {error}"
    return _wrong_table(file, rows.num_rows, rows.schema, schema) or rows


def wrong_with(folder: DataFolder, file: DataFile, schema: pa.Schema) -> str | None:
    """Fault of a file of any size, read in blocks; None if there is none."""
    checksum, size = xxh3_128(), 0
    try:
        for block in _blocks(folder, file.path):
            checksum.update(block)
            size += len(block)
            if size > file.bytes:
                return _not_ours(folder, file, "it does not end")
        if wrong := _wrong_bytes(file, size, checksum.hexdigest()):
            return wrong
        with folder.explained("read", file.path), folder.open(file.path, BLOCK_BYTES) as opened:
            metadata = pq.read_metadata(opened)
    except DamageError as error:
        return _not_ours(folder, file, error)
    except StoreError as error:
        return _unreadable(error)
    except pa.ArrowException as error:
        return f"is no readable Parquet file: {error}"
    return _wrong_table(file, metadata.num_rows, metadata.schema.to_arrow_schema(), schema)


def _blocks(folder: DataFolder, name: str) -> Iterator[bytes]:
    with folder.explained("read", name), folder.open(name, BLOCK_BYTES) as opened:
        while block := opened.read(BLOCK_BYTES):
            yield block


def _not_ours(folder: DataFolder, file: DataFile, reason: object) -> str:
    """Say that a file is larger than it was, or that a link leads elsewhere: more of it is not read."""
    with suppress(StoreError):
        if (size := folder.size(file.path)) is not None and size > file.bytes:
            return _wrong_bytes(file, size, "")
    return f"is not what was written: {reason}"


def _unreadable(error: StoreError) -> str:
    """Say that a file is gone; what else keeps it from being read says nothing about it, and is raised."""
    if isinstance(error.__cause__, FileNotFoundError):
        return "is missing"
    raise error


def _wrong_bytes(file: DataFile, size: int, checksum: str) -> str | None:
    if size != file.bytes:
        return f"has {size:,} bytes instead of {file.bytes:,}"
    if f"xxh3-128:{checksum}" != file.checksum:
        return "has other bytes than were written: its checksum differs"
    return None


def _wrong_table(file: DataFile, rows: int, found: pa.Schema, expected: pa.Schema) -> str | None:
    if rows != file.rows:
        return f"has {rows:,} rows instead of {file.rows:,}"
    if not found.equals(expected):
        differing = [f.name for f in found if f.name not in expected.names or expected.field(f.name) != f]
        missing = [name for name in expected.names if name not in found.names]
        return f"has other columns than its table: {', '.join(differing + missing) or 'another order'}"
    return None
