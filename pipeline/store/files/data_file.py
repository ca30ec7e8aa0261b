"""A data file and its description: what a marker or a manifest says of the Parquet files that it lists."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import BaseModel, ConfigDict
from xxhash import xxh3_128_hexdigest

from pipeline.store.files.data_folder import DataFolder


class DataFile(BaseModel):
    """A Parquet file as it was written."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Path relative to the output folder."""

    rows: int

    bytes: int

    checksum: str
    """`xxh3-128:` and the hash of the file's bytes, in hexadecimal."""


def write_data_file(folder: DataFolder, path: str, data: pa.Buffer, rows: int) -> DataFile:
    """Write the bytes of a Parquet file and describe it."""
    folder.write(path, data.to_pybytes())
    checksum = f"xxh3-128:{xxh3_128_hexdigest(data)}"
    return DataFile(path=path, rows=rows, bytes=data.size, checksum=checksum)


def files_dataset(folder: DataFolder, paths: Sequence[str], schema: pa.Schema) -> ds.Dataset:
    """Return the rows of some files; without files, a dataset of no rows."""
    if not paths:
        return ds.dataset(schema.empty_table())
    full = [folder.path(path) for path in paths]
    return ds.dataset(full, schema=schema, format="parquet", filesystem=folder.fs)
