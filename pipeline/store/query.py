"""A snapshot's files as something to ask: a pyarrow data set, or DuckDB views.

DuckDB reads local files by itself (pruning row groups and columns, and using bloom filters); files on S3
reach it through pyarrow, so that no extension has to be downloaded and credentials are the same as for
everything else.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow.dataset as ds

from pipeline.store.files import LocalFolder, files_dataset
from pipeline.store.snapshot import Snapshot


def dataset(snapshot: Snapshot, name: str) -> ds.Dataset:
    """The rows of a table or a copy."""
    folder, schema = snapshot.folder, snapshot.schemas[snapshot.table_of(name)]
    return files_dataset(folder, snapshot.paths(name), schema)


def bind(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, instead: Mapping[str, str] | None = None
) -> None:
    """Makes one view a table in this connection; `instead` names the copy that answers for a table."""
    for table in snapshot.files:
        name = (instead or {}).get(table, table)
        paths = [snapshot.folder.path(path) for path in snapshot.paths(name)]
        if paths and isinstance(snapshot.folder, LocalFolder):
            connection.read_parquet(paths).create_view(table)
        else:
            connection.register(table, dataset(snapshot, name))


def connect(snapshot: Snapshot) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with one view a table."""
    connection = duckdb.connect()
    bind(connection, snapshot)
    return connection
