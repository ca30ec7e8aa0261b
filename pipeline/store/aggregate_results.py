"""Tables aggregated from a sweep, beside its own: each result a folder that one create-only file makes count.

A result's key hashes everything that changes it: the sweep's files, the settings and this package's version.
So asking again costs nothing, a night later it is a new result, and old ones stay. Files come first and the
manifest last, as for shards; what died on the way is never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import BaseModel, ConfigDict, ValidationError
from xxhash import xxh3_128_hexdigest

from pipeline.errors import DamageError
from pipeline.store.commits import run_key
from pipeline.store.files import DataFile, DataFolder, files_dataset, write_data_file
from pipeline.store.layout import AGGREGATES, aggregate_file, aggregate_name
from pipeline.store.output import Output
from pipeline.store.rows import encode, versions
from pipeline.store.snapshot import Snapshot
from schemas import AGGREGATE_TABLES


class AggregateManifest(BaseModel):
    """A finished result."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    """Version of this file's layout."""

    identity: dict[str, Any]
    """Everything that changes the result."""

    files: dict[str, tuple[DataFile, ...]]
    """The files of each table."""

    info: dict[str, Any]
    """Group sizes, tests, seconds."""

    created: datetime
    """When it was finished, UTC."""


@dataclass(frozen=True)
class AggregateResult:
    """Tables aggregated from an output, finished or not; safe to hand to other processes."""

    url: str
    """The sweep's output."""

    name: str
    """Kind of the aggregate, the beginning of its key."""

    identity: Mapping[str, Any]
    """Everything that changes the result."""

    @classmethod
    def of(cls, snapshot: Snapshot, name: str, settings: Mapping[str, Any]) -> AggregateResult:
        """The result of aggregating these files with these settings."""
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
        return write_data_file(
            self.output.folder, aggregate_file(self.key, table, number), data, rows.num_rows
        )

    def commit(self, files: Mapping[str, Sequence[DataFile]], info: Mapping[str, Any]) -> AggregateManifest:
        """Make the files count; if another process was faster, its files do, which hold the same."""
        kept = {table: tuple(written) for table, written in files.items()}
        manifest = AggregateManifest(
            identity=dict(self.identity), files=kept, info=dict(info), created=datetime.now(UTC)
        )
        self.output.folder.create(aggregate_name(self.key), manifest.model_dump_json(indent=1).encode())
        return self.manifest()

    def exists(self) -> bool:
        """Whether it is finished."""
        return self.output.folder.exists(aggregate_name(self.key))

    def manifest(self) -> AggregateManifest:
        """Read its manifest.

        Raises:
            StoreError: it is not finished.
            DamageError: its manifest cannot be read.

        """
        return read_aggregate_manifest(self.output.folder, aggregate_name(self.key))

    def dataset(self, table: str) -> ds.Dataset:
        """One table, for pyarrow."""
        return _dataset(self.output.folder, table, self.manifest().files.get(table, ()))

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """The sweep's tables with the result's beside them."""
        connection = self.output.duckdb()
        for table in self.manifest().files:
            connection.register(table, self.dataset(table))
        return connection


def newest_aggregates(folder: DataFolder) -> dict[str, ds.Dataset]:
    """Each aggregated table of an output, from the result that was finished last.

    Raises:
        DamageError: a result's manifest cannot be read.

    """
    manifests = sorted(
        (read_aggregate_manifest(folder, name) for name in aggregate_names(folder)), key=lambda m: m.created
    )
    files = {table: files for manifest in manifests for table, files in manifest.files.items()}
    return {table: _dataset(folder, table, files[table]) for table in files}


def aggregate_names(folder: DataFolder) -> list[str]:
    """The manifests of an output's results."""
    return sorted(entry.name for entry in folder.list(AGGREGATES) if entry.name.endswith(".json"))


def read_aggregate_manifest(folder: DataFolder, name: str) -> AggregateManifest:
    """Read the manifest of a result; DamageError if it is none."""
    try:
        return AggregateManifest.model_validate_json(folder.read(name))
    except ValidationError as error:
        raise DamageError(f"{folder.url}/{name} is damaged: delete it and run the command again.") from error


def _dataset(folder: DataFolder, table: str, files: Sequence[DataFile]) -> ds.Dataset:
    return files_dataset(folder, [file.path for file in files], AGGREGATE_TABLES[table].schema)
