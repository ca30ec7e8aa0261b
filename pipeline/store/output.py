"""The output of a sweep: a folder of tables, on local disk or S3, whose files `layout` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.credentials import holds_credentials
from pipeline.errors import StoreError
from pipeline.seconds import NO_SECONDS, Seconds
from pipeline.store.commits import (
    Lease,
    Marker,
    SweepMetadata,
    claim_folder,
    commit_shard,
    delete_orphans,
    hold,
    published_shards,
    read_commits,
    read_sweep_metadata,
)
from pipeline.store.compaction import Compacted, Deleted, compact, delete_leftovers, vacuum
from pipeline.store.delta import Published, StoredTables, last_version, publish_tables
from pipeline.store.files import DataFolder, LocalFolder, S3Folder
from pipeline.store.layout import INNER, SWEEP, UPKEEP
from pipeline.store.nearby import nearby_outputs
from pipeline.store.rows import NO_COLUMNS, columns_from_json, extra_columns_schema
from pipeline.store.snapshot import Moment, Snapshot, read_snapshot, read_snapshot_at, versions
from schemas import TABLES, Table


def open_folder(url: str | Path) -> DataFolder:
    """The folder behind a path or an `s3://` URL."""
    url = str(url)
    if holds_credentials(url):
        raise StoreError(  # and not a word of the URL, which would show them
            "the output's URL holds credentials, which would be stored and shown with it: set them in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or use a role."
        )
    match urlsplit(url).scheme if "://" in url else "":
        case "":
            return LocalFolder(url)
        case "file":
            return LocalFolder(urlsplit(url).path)
        case "s3" | "s3a" if any(character in url for character in "*?["):
            raise StoreError(f"output {url}: *, ? and [ in an S3 name stand for others: choose another name.")
        case "s3" | "s3a":
            return S3Folder(url)
        case scheme:
            raise StoreError(f"output {url}: {scheme}:// is not supported; give a local folder or s3://.")


class Output:
    """The output of a kind of work, such as a sweep. Cheap to make, and safe to hand to other processes."""

    def __init__(self, url: str | Path, tables: Mapping[str, Table] | None = None) -> None:
        """Name an output.

        Args:
            url: a folder or an `s3://` URL.
            tables: the tables of the work that writes it; the first holds a row for each prompt that is done
                (default: those that the output says it has, and a sweep's where there is none yet).

        """
        self.folder = open_folder(url)
        self._given_tables = tables

    @property
    def url(self) -> str:
        """Absolute path or `s3://` URL of the folder."""
        return self.folder.url

    def claim(self, run: Mapping[str, Any], run_key: int, columns: pa.Schema = NO_COLUMNS) -> None:
        """Makes the folder this run's; StoreError, with the difference, if it belongs to another.

        `run` is the resolved configuration, stored and shown; `run_key` decides. `columns` are the extra
        columns as the prompts have them; `extra_columns` has them from then on as they are stored.
        """
        tables = TABLES if self._given_tables is None else self._given_tables
        claim_folder(self.folder, run, run_key, extra_columns_schema(columns), tables.values())
        for read_before in ("_metadata", "extra_columns", "tables"):
            self.__dict__.pop(read_before, None)

    def claimed(self) -> SweepMetadata:
        """Sweep that the folder belongs to; StoreError if no sweep ever wrote there."""
        if not self.folder.exists(SWEEP):
            near = " or ".join(nearby_outputs(self.url))
            hint = f"Did you mean {near}?" if near else "Give a sweep's output folder."
            raise StoreError(f"{self.url} holds no sweep: there is no {SWEEP}. {hint}")
        return read_sweep_metadata(self.folder)

    def check_format(self) -> None:
        """Refuse a folder that another version wrote; one that no sweep has claimed passes.

        Raises:
            StoreError: its tables are of another format.

        """
        if self.folder.exists(SWEEP):
            read_sweep_metadata(self.folder)

    @cached_property
    def extra_columns(self) -> pa.Schema:
        """The extra columns of the sweep that the folder belongs to, as they are stored."""
        return NO_COLUMNS if self._metadata is None else columns_from_json(self._metadata.columns)

    @cached_property
    def tables(self) -> Mapping[str, Table]:
        """The output's tables by name; the first holds a row for each prompt that is done.

        Raises:
            StoreError: the output's description of them cannot be read.

        """
        if self._given_tables is not None:
            return self._given_tables
        return TABLES if self._metadata is None else {one.name: one.table for one in self._metadata.tables}

    @cached_property
    def _metadata(self) -> SweepMetadata | None:
        return read_sweep_metadata(self.folder) if self.folder.exists(SWEEP) else None

    def inner(self) -> dict[str, Output]:
        """Outputs that were made of this one and lie in it, such as its validation, by folder."""
        own = {*self.tables}
        names = (name for name in self.folder.folders() if name not in own and INNER.fullmatch(name))
        return {
            name: Output(f"{self.url}/{name}")
            for name in sorted(names)
            if self.folder.exists(f"{name}/{SWEEP}")
        }

    @property
    def stored(self) -> StoredTables:
        """The tables where they lie, with the sweep's extra columns."""
        return StoredTables(self.folder, self.tables, self.extra_columns)

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Each table's schema, with the sweep's extra columns."""
        return self.stored.schemas

    def commit(
        self,
        shard: str,
        tables: Mapping[str, pa.Table],
        attempt: str = "0",
        seconds: Seconds = NO_SECONDS,
        worker: str | None = None,
        began: datetime | None = None,
        ended: datetime | None = None,
        item_keys: Sequence[int] | None = None,
    ) -> Marker | None:
        """Makes a shard's rows visible, all or nothing; returns the marker, None if another attempt won."""
        return commit_shard(
            self.folder, self.tables, shard, tables, attempt, seconds, worker, began, ended, item_keys
        )

    def hold(self) -> AbstractContextManager[Lease]:
        """Keep other drivers and repairs out for as long as this lasts.

        Raises:
            StoreError: one is at work (see `lease`).

        """
        return hold(self.folder)

    def hold_upkeep(self) -> AbstractContextManager[Lease]:
        """Keep other compactions, vacuums and repairs out for as long as this lasts; a run may go on.

        Raises:
            StoreError: one is at work (see `lease`).

        """
        return hold(self.folder, name=UPKEEP)

    def committed(self) -> Iterator[Marker]:
        """Every finished shard that counts; one that covers a prompt of an earlier one does not.

        Raises:
            StoreError: a repair has not ended, so that a marker speaks of rows that were taken away; or
                another version wrote the folder.

        """
        self.check_format()
        # The logs before the markers: what is published in between is then only taken for unpublished.
        logs = self.stored.logs().values()
        taken = read_commits(self.folder, self.tables, published_shards(logs)).taken
        withdrawn = {path for log in logs for path in log.withdrawn}
        if any(file.path in withdrawn for marker in taken for file in marker.files.values()):
            raise StoreError(
                f"a repair of {self.url} is at work or died, and rows of shards that are marked as done are "
                f"gone: `circuit-sweep verify {self.url} --repair` finishes it, then a run does them again."
            )
        yield from taken

    def delete_orphans(self, older_than: float = 0.0, abandoned: Set[str] = frozenset()) -> list[str]:
        """Delete files that no marker names and return their names; publish first.

        A straggler's marker that comes later counts for nothing then: published shards hold its prompts.

        Args:
            older_than: seconds since 1970. Files of shards that nobody finished go only if they were written
                before; later ones may belong to a worker that is still writing.
            abandoned: shards that nobody is to finish any more, because others hold their prompts. Their
                files go whatever their age.

        """
        return delete_orphans(self.stored, older_than, abandoned)

    def publish(self, run_key: int) -> Published:
        """Publish what is committed as one Delta Lake version per table; nothing new, no version."""
        stored = self.stored
        commits = read_commits(self.folder, self.tables, published_shards(stored.logs().values()))
        return publish_tables(stored, commits, run_key)

    def snapshot(self, at: Moment | None = None) -> Snapshot:
        """Files that count: all that is committed now, or published at a version or on a date."""
        if at is None:
            return read_snapshot(self.stored)
        return read_snapshot_at(self.stored, at)

    def versions(self) -> dict[int, datetime]:
        """Time of each published version; a finished sweep and a compaction publish one."""
        self.check_format()
        return versions(self.stored)

    def last_versions(self) -> dict[str, int]:
        """The number of each table's last published version; tables without one are left out."""
        found = {table: last_version(self.folder, table) for table in self.tables}
        return {table: number for table, number in found.items() if number is not None}

    def published(self) -> datetime | None:
        """Time at which a table was published last; None before the first."""
        return max((v.written for log in self.stored.logs().values() for v in log.versions), default=None)

    def compact(self, everything: bool = False) -> list[Compacted]:
        """Publish what is committed, and write its many files as few; see `compaction`.

        Raises:
            StoreError: another compaction, or a repair, is at work; or the output cannot be written.

        """
        key = self.claimed().run_key
        with self.hold_upkeep() as lease:
            self.publish(key)
            delete_leftovers(self.stored)
            return compact(self.stored, everything, lease.confirm)

    def vacuum(self) -> Deleted:
        """Delete the files that a compaction has replaced, and with them the versions before it.

        Raises:
            StoreError: a compaction or a repair is at work; or the output cannot be written.

        """
        self.check_format()
        with self.hold_upkeep():
            return vacuum(self.stored)

    def dataset(self, table: str) -> ds.Dataset:
        """The committed rows of a table, for pyarrow."""
        if table not in self.tables:
            raise StoreError(f"no such table: {table}; there are {', '.join(self.tables)}")
        return self.snapshot().dataset(table)

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with one view per table over the committed rows."""
        return self.snapshot().duckdb()
