"""Where mined tables lie: beside the sweep's, each result a folder that one create-only file makes count.

OUTPUT/_aggregates/<name>-<hash>.json                            what it was made of, and its files
OUTPUT/_aggregates/<name>-<hash>/<table>/<number>-<try>.parquet  its rows

The hash is over everything that changes the result: the sweep's files, the settings and this package's
version. So asking again costs nothing, a night later it is a new result, and old ones stay. Files come
first and the manifest last, as in the store; what died on the way is never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import BaseModel, ConfigDict, ValidationError
from xxhash import xxh3_128_hexdigest

from pipeline.errors import StoreError
from pipeline.store import Output, Snapshot
from pipeline.store.commits import DataFile, run_key
from pipeline.store.files import Folder
from pipeline.store.rows import encode, versions
from schemas import AGGREGATE_TABLES

FOLDER = "_aggregates"


class Manifest(BaseModel):
    """A finished result."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    """Version of this file's layout."""

    identity: dict[str, Any]
    """Everything that changes the result."""

    files: dict[str, tuple[DataFile, ...]]
    """The files of each table."""

    info: dict[str, Any]
    """What else there is to say: group sizes, tests, seconds."""

    created: datetime
    """When it was finished, UTC."""


@dataclass(frozen=True)
class Mined:
    """Tables mined from an output, finished or not; safe to hand to other processes."""

    url: str
    """The sweep's output."""

    name: str
    """How people and paths call it."""

    identity: Mapping[str, Any]
    """Everything that changes the result."""

    @classmethod
    def of(cls, snapshot: Snapshot, name: str, settings: Mapping[str, Any]) -> Mined:
        """What mining these files with these settings gives."""
        files = sorted(path for paths in snapshot.files.values() for path in paths)
        identity = {
            "files": xxh3_128_hexdigest("\n".join(files).encode()),
            "version": versions()["engine_version"],
            **settings,
        }
        return cls(snapshot.folder.url, name, identity)

    @property
    def key(self) -> str:
        """Its name with the hash of its identity."""
        return f"{self.name}-{run_key(self.identity) % 2**64:016x}"

    @cached_property
    def output(self) -> Output:
        """The sweep's output."""
        return Output(self.url)

    def write(self, table: str, rows: pa.Table, number: int) -> DataFile:
        """Write one file of a table."""
        data = encode(AGGREGATE_TABLES[table], rows)
        path = f"{FOLDER}/{self.key}/{table}/{number:05d}-{uuid4().hex[:8]}.parquet"
        self.output.folder.write(path, data.to_pybytes())
        checksum = f"xxh3-128:{xxh3_128_hexdigest(data)}"
        return DataFile(path=path, rows=rows.num_rows, bytes=data.size, checksum=checksum)

    def commit(self, files: Mapping[str, Sequence[DataFile]], info: Mapping[str, Any]) -> Manifest:
        """Make the files count; if another process was faster, its files do, which hold the same."""
        kept = {table: tuple(written) for table, written in files.items()}
        manifest = Manifest(
            identity=dict(self.identity), files=kept, info=dict(info), created=datetime.now(UTC)
        )
        self.output.folder.create(self._manifest_name, manifest.model_dump_json(indent=1).encode())
        return self.manifest()

    @property
    def _manifest_name(self) -> str:
        return f"{FOLDER}/{self.key}.json"

    def exists(self) -> bool:
        """Whether it is finished."""
        return self.output.folder.exists(self._manifest_name)

    def manifest(self) -> Manifest:
        """What it was made of, and its files.

        Raises:
            StoreError: it is not finished, or damaged.

        """
        return _read_manifest(self.output.folder, self._manifest_name)

    def dataset(self, table: str) -> ds.Dataset:
        """One table, for pyarrow."""
        return _dataset(self.output.folder, table, self.manifest().files.get(table, ()))

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """The sweep's tables with the result's beside them."""
        connection = self.output.duckdb()
        for table in self.manifest().files:
            connection.register(table, self.dataset(table))
        return connection


def newest_mined(folder: Folder) -> dict[str, ds.Dataset]:
    """Each mined table that an output has, as the result that was finished last gives it.

    Raises:
        StoreError: a result is damaged.

    """
    names = [entry.name for entry in folder.list(FOLDER) if entry.name.endswith(".json")]
    manifests = sorted((_read_manifest(folder, name) for name in names), key=lambda made: made.created)
    files = {table: files for manifest in manifests for table, files in manifest.files.items()}
    return {table: _dataset(folder, table, files[table]) for table in files}


def _read_manifest(folder: Folder, name: str) -> Manifest:
    try:
        return Manifest.model_validate_json(folder.read(name))
    except ValidationError as error:
        raise StoreError(f"{folder.url}/{name} is damaged: delete it and run the command again.") from error


def _dataset(folder: Folder, table: str, files: Sequence[DataFile]) -> ds.Dataset:
    schema = AGGREGATE_TABLES[table].schema
    if not files:
        return ds.dataset(schema.empty_table())
    paths = [folder.path(file.path) for file in files]
    return ds.dataset(paths, schema=schema, format="parquet", filesystem=folder.fs)
