"""Aggregate tables, beside the sweep's: each result is a folder that one create-only file makes count.

A result's key hashes everything that changes it: the sweep's files, the settings and this package's
version. So asking again costs nothing, a night later it is a new result, and old ones stay. Files come
first and the manifest last, as for shards; what died on the way is never read. Of several results with the
same table, queries see the one that was asked for last: the manifest says when that was. Tests of circuits
are seen only beside the circuits that they tested, since other circuits have the same names.
"""

from __future__ import annotations

import logging
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

from pipeline.errors import DamageError, StoreError
from pipeline.store.aggregate_info import AggregateInfo
from pipeline.store.commits import run_key
from pipeline.store.files import DataFile, DataFolder, files_dataset, write_data_file
from pipeline.store.layout import (
    AGGREGATES,
    aggregate_file,
    aggregate_key,
    aggregate_name,
    owner_of,
    result_of,
)
from pipeline.store.output import Output
from pipeline.store.rows import encode, versions
from pipeline.store.snapshot import Snapshot
from schemas import AGGREGATE_TABLES

logger = logging.getLogger(__name__)


class AggregateManifest(BaseModel):
    """A finished result."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    """Version of this file's layout."""

    identity: dict[str, Any]
    """Everything that changes the result."""

    files: dict[str, tuple[DataFile, ...]]
    """The files of each table."""

    info: AggregateInfo

    created: datetime
    """End of the computation, UTC."""

    shown: datetime
    """Last time that it was asked for, UTC: queries see the newest of each table."""

    @property
    def tested(self) -> str | None:
        """Key of the result whose circuits this one tested; None of a result that is no test."""
        return self.identity.get("found")


@dataclass(frozen=True)
class AggregateResult:
    """The tables of one aggregate, finished or not; safe to hand to other processes."""

    url: str
    """The sweep's output."""

    name: str
    """Beginning of its folder's name."""

    grouped_by: str
    """Words for what grouped the prompts, which its tables carry."""

    identity: Mapping[str, Any]
    """Everything that changes the result."""

    @classmethod
    def of(
        cls, snapshot: Snapshot, name: str, settings: Mapping[str, Any], grouped_by: str = "all"
    ) -> AggregateResult:
        """Name the result of aggregating these files with these settings."""
        files = sorted(path for paths in snapshot.files.values() for path in paths)
        identity = {
            "files": xxh3_128_hexdigest("\n".join(files).encode()),
            "version": versions()["engine_version"],
            **settings,
        }
        return cls(snapshot.folder.url, name, grouped_by, identity)

    @property
    def key(self) -> str:
        """Name of the result with the hash of its identity."""
        return f"{self.name}-{run_key(self.identity) % 2**64:016x}"

    @cached_property
    def output(self) -> Output:
        """The sweep's output."""
        return Output(self.url)

    def write(self, table: str, rows: pa.Table, number: int) -> DataFile:
        """Write one file of a table; `grouped_by`, the order of the columns and their types are filled in."""
        schema = AGGREGATE_TABLES[table].schema
        grouped_by = pa.array([self.grouped_by] * rows.num_rows, pa.string())
        rows = rows.append_column("grouped_by", grouped_by).select(schema.names).cast(schema)
        data = encode(AGGREGATE_TABLES[table], rows)
        path = aggregate_file(self.key, table, number)
        return write_data_file(self.output.folder, path, data, rows.num_rows)

    def commit(self, files: Mapping[str, Sequence[DataFile]], info: AggregateInfo) -> AggregateManifest:
        """Make the files count; where another process was faster, its files count, with the same rows."""
        kept, now = {table: tuple(written) for table, written in files.items()}, datetime.now(UTC)
        manifest = AggregateManifest(
            identity=dict(self.identity), files=kept, info=info, created=now, shown=now
        )
        self.output.folder.create(aggregate_name(self.key), manifest.model_dump_json(indent=1).encode())
        return self.manifest()

    def mark_current(self) -> None:
        """Make queries see this result's tables; an output that cannot be written to stays as it is."""
        manifest = self.manifest().model_copy(update={"shown": datetime.now(UTC)})
        try:
            self.output.folder.replace(aggregate_name(self.key), manifest.model_dump_json(indent=1).encode())
        except StoreError as error:
            logger.warning("queries may show the tables of another call: %s", error)

    def exists(self) -> bool:
        """True if the result is finished."""
        return self.output.folder.exists(aggregate_name(self.key))

    def manifest(self) -> AggregateManifest:
        """Read what the result was made of, and its files.

        Raises:
            StoreError: it is not finished, or damaged.

        """
        return read_aggregate_manifest(self.output.folder, aggregate_name(self.key))

    def dataset(self, table: str) -> ds.Dataset:
        """Return one table, for pyarrow."""
        return _dataset(self.output.folder, table, self.manifest().files.get(table, ()))

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """Return a connection with the sweep's tables and the result's beside them."""
        connection = self.output.duckdb()
        for table in self.manifest().files:
            connection.register(table, self.dataset(table))
        return connection


def current_aggregates(folder: DataFolder) -> dict[str, ds.Dataset]:
    """Return each aggregate table that an output has, of the result that was asked for last.

    Tests of circuits that are not the current ones are left out.

    Raises:
        StoreError: a result is damaged.

    """
    made = {aggregate_key(name): read_aggregate_manifest(folder, name) for name in aggregate_names(folder)}
    made = dict(sorted(made.items(), key=lambda one: one[1].shown))
    circuits = [key for key, manifest in made.items() if "circuits" in manifest.files]
    files = {
        table: files
        for manifest in made.values()
        if manifest.tested is None or manifest.tested in circuits[-1:]
        for table, files in manifest.files.items()
    }
    return {table: _dataset(folder, table, files[table]) for table in files}


def aggregate_names(folder: DataFolder) -> list[str]:
    """Return the names of the manifests of an output's results."""
    return sorted(entry.name for entry in folder.list(AGGREGATES) if entry.name.endswith(".json"))


def read_aggregate_manifest(folder: DataFolder, name: str) -> AggregateManifest:
    """Read the manifest of a result.

    Raises:
        DamageError: the file holds none, or names files that are not this result's.

    """
    try:
        manifest = AggregateManifest.model_validate_json(folder.read(name))
    except ValidationError as error:
        raise _damaged(folder, name, error.errors()[0]["msg"]) from error
    for table, files in manifest.files.items():
        if table not in AGGREGATE_TABLES:
            raise _damaged(folder, name, f"{table!r:.80} is not a table of an aggregate")
        for file in files:
            if (result_of(file.path), owner_of(file.path)) != (aggregate_key(name), table):
                raise _damaged(folder, name, f"{file.path} is not a file of this result's {table}")
    return manifest


def _damaged(folder: DataFolder, name: str, reason: str) -> DamageError:
    return DamageError(f"{folder.url}/{name} is damaged: {reason}. Delete it and run the command again.")


def _dataset(folder: DataFolder, table: str, files: Sequence[DataFile]) -> ds.Dataset:
    return files_dataset(folder, [file.path for file in files], AGGREGATE_TABLES[table].schema)
