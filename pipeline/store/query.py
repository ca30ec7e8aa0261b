"""Committed files as something to ask: a pyarrow data set, or DuckDB views.

Both see exactly what the markers list, at the moment of asking. DuckDB reads local files by itself
(pruning row groups and columns); files on S3 reach it through pyarrow, so that no extension has to be
downloaded and credentials are the same as for everything else.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.store.folder import Folder
from pipeline.store.local import LocalFolder
from pipeline.store.marker import Marker


def dataset(folder: Folder, table: str, schema: pa.Schema, markers: list[Marker]) -> ds.Dataset:
    """The committed rows of a table."""
    paths = [folder.path(marker.files[table].path) for marker in markers if table in marker.files]
    if not paths:
        return ds.dataset(schema.empty_table())
    return ds.dataset(paths, schema=schema, format="parquet", filesystem=folder.fs)


def connect(
    folder: Folder, schemas: dict[str, pa.Schema], markers: list[Marker]
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with one view a table."""
    connection = duckdb.connect()
    for table, schema in schemas.items():
        paths = [folder.path(marker.files[table].path) for marker in markers if table in marker.files]
        if paths and isinstance(folder, LocalFolder):
            connection.read_parquet(paths).create_view(table)
        else:
            connection.register(table, dataset(folder, table, schema, markers))
    return connection
