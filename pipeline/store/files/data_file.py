"""A data file and its description: what a marker or a manifest says of the Parquet files that it lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from xxhash import xxh3_128_hexdigest

from pipeline.store.files.data_folder import DataFolder
from pipeline.store.layout import checked_data_path

DataPath = Annotated[str, AfterValidator(checked_data_path)]
"""Path of a file of rows, relative to the output, as it may stand in somebody's bookkeeping."""

Size = Annotated[int, Field(ge=0, lt=2**63)]


class DataFile(BaseModel):
    """A Parquet file as it was written."""

    model_config = ConfigDict(frozen=True)

    path: DataPath
    """Path relative to the output folder."""

    rows: Size

    bytes: Size

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
    folder.refuse_links_outside(paths)
    full = [folder.path(path) for path in paths]
    return ds.dataset(full, schema=schema, format="parquet", filesystem=folder.fs)
