"""Files that count: now, or at a published version.

Now: the files of each table's last Delta version, and the files of markers that were never published. A
compaction replaces files in the Delta log, so markers' files that any version ever added are left to the log.
The log of the first table (`graphs`) is read first and is published last: a shard that it names is published
everywhere, so its marker need not be read. For a million prompts that is a listing instead of 30,000 reads.
While shards wait to be published all markers are read, to see that no two cover a prompt (see `overlaps`).

A projection stands for the compacted files that its manifest names together with it, and counts
only where all of these count; rows that came later are read from the table's own files. So a reader sees each
row once, whichever files it takes, and whatever a compaction that is under way or died has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.errors import StoreError
from pipeline.store.commits import Commits, published_shards, read_commits, read_markers
from pipeline.store.compaction import PROJECTIONS, Manifest, projections_of, read_manifests
from pipeline.store.database import open_database
from pipeline.store.delta import StoredTables, TableLog, read_log
from pipeline.store.files import DataFolder, LocalFolder, files_dataset
from pipeline.store.layout import data_folder, projection_folder, shard_of

Moment = int | str | date | datetime
"""A published version's number, or a date: a day means its end, a time without a zone is UTC."""


@dataclass(frozen=True)
class Snapshot:
    """The files of one state of an output."""

    stored: StoredTables
    """The output's tables."""

    files: dict[str, list[str]]
    """Each table's files, relative to the output."""

    manifests: tuple[Manifest, ...]
    """Manifests of compactions, oldest first."""

    @property
    def folder(self) -> DataFolder:
        """The output."""
        return self.stored.folder

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Each table's columns."""
        return self.stored.schemas

    def compacted(self, table: str) -> list[Manifest]:
        """Return the compactions whose files are this table's files now."""
        live = set(self.files[table])
        made = [manifest for manifest in self.manifests if table in manifest.tables]
        return [manifest for manifest in made if live.issuperset(manifest.tables[table].paths)]

    @cached_property
    def projections(self) -> dict[str, list[str]]:
        """Projections that exist, each with the files that together hold all of its table's rows."""
        found = {}
        for table in self.files:
            for projection in projections_of(table):
                manifests = [made for made in self.compacted(table) if projection.name in made.projections]
                if manifests:
                    covered = {path for manifest in manifests for path in manifest.tables[table].paths}
                    rest = [path for path in self.files[table] if path not in covered]
                    sorted_files = (file for m in manifests for file in m.projections[projection.name])
                    found[projection.name] = [file.path for file in sorted_files] + rest
        return found

    def paths(self, name: str) -> list[str]:
        """Return the files of a table or a projection."""
        return self.projections[name] if name in PROJECTIONS else self.files[name]

    def dataset(self, name: str) -> ds.Dataset:
        """Return the rows of a table or a projection, for pyarrow."""
        table = PROJECTIONS[name].table if name in PROJECTIONS else name
        return files_dataset(self.folder, self.paths(name), self.schemas[table])

    def bind(self, connection: duckdb.DuckDBPyConnection, instead: Mapping[str, str] | None = None) -> None:
        """Create one view per table in this connection; `instead` names projections to read for tables."""
        for table in self.files:
            name = (instead or {}).get(table, table)
            paths = [self.folder.path(path) for path in self.paths(name)]
            # DuckDB takes paths for patterns: a folder named `sweep[1]` would give the rows of `sweep1`.
            if paths and isinstance(self.folder, LocalFolder) and not set(self.folder.root) & set("*?[{"):
                self.folder.refuse_links_outside(self.paths(name))
                # DuckDB's own reader prunes row groups and columns and uses bloom filters.
                listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
                # Temporary ones are this connection's own: others of the same database may read otherwise.
                connection.execute(
                    f'create or replace temporary view "{table}" as from read_parquet([{listed}])'
                )
            else:
                # Through pyarrow S3 needs no extension to download, and no second set of credentials.
                connection.register(table, self.dataset(name))

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """Return an in-memory DuckDB with one view per table."""
        connection = open_database()
        self.bind(connection)
        return connection


def read_snapshot(stored: StoredTables) -> Snapshot:
    """Read which files count now: all that is committed."""
    folder, logs = stored.folder, stored.logs()  # the logs before the markers, the first one first: see above
    published = published_shards([logs[stored.first]])
    unsure = read_markers(folder, stored.kinds, known=published)  # new ones, and those without a graph
    waiting = [m for m in unsure if any(file.path not in logs[t].added for t, file in m.files.items())]
    commits = (
        read_commits(folder, stored.kinds, published_shards(logs.values()))
        if waiting
        else Commits([], frozenset())
    )
    files = {
        table: [path for path in log.live if shard_of(path) not in commits.dropped]
        for table, log in logs.items()
    }
    for marker in commits.taken:
        for table, file in marker.files.items():
            if file.path not in logs[table].added:
                files[table].append(file.path)
    return Snapshot(stored, files, read_manifests(stored.folder, stored.kinds))


def read_published(stored: StoredTables) -> Snapshot:
    """Read which files each table's last published version holds."""
    files = {table: list(log.live) for table, log in stored.logs().items()}
    return Snapshot(stored, files, read_manifests(stored.folder, stored.kinds))


def versions(stored: StoredTables) -> dict[int, datetime]:
    """Return the time of each version of the output: those of its first table."""
    log = read_log(stored.folder, stored.first)
    return {version.number: version.written for version in log.versions}


def read_snapshot_at(stored: StoredTables, moment: Moment) -> Snapshot:
    """Read which files a published version of the output held, or the one of a date.

    Versions of the output are those of its first table, which is published last: the others are as they
    were then.

    Raises:
        StoreError: there is no such version, or its files were vacuumed.

    """
    folder, logs = stored.folder, stored.logs()
    log = logs[stored.first]
    number = _find(folder, log, moment)
    then = log.versions[number].written
    files = {table: list(other.until(then).live) for table, other in logs.items()}
    # By its number: two versions of the same millisecond are two.
    files[stored.first] = list(TableLog(log.versions[: number + 1]).live)
    _check_vacuumed(folder, files, log, number)
    return Snapshot(stored, files, _whole(folder, read_manifests(folder, stored.kinds)))


def _find(folder: DataFolder, log: TableLog, moment: Moment) -> int:
    if not log.versions:
        raise StoreError(f"{folder.url} has no published version yet: a sweep publishes one when it ends.")
    wanted = parse_moment(moment)
    if isinstance(wanted, int):
        if 0 <= wanted < len(log.versions):
            return wanted
        raise StoreError(f"{folder.url} has no version {wanted}; there {_listed(log)}.")
    if not (before := log.until(wanted).versions):
        raise StoreError(f"{folder.url} had no version yet on {moment}; there {_listed(log)}.")
    return before[-1].number


def _listed(log: TableLog) -> str:
    named = [f"{version.number} ({version.written:%Y-%m-%d %H:%M:%S} UTC)" for version in log.versions]
    if len(named) > 6:
        named = [*named[:2], "...", *named[-3:]]
    return f"is {named[0]}" if len(named) == 1 else f"are {', '.join(named)}"


def parse_moment(moment: Moment) -> int | datetime:
    """Turn what a user gave into a version's number, or a time with its zone.

    Raises:
        StoreError: it is neither.

    """
    if isinstance(moment, str):
        if moment.strip().isdecimal():
            return int(moment)
        try:
            day = len(moment.strip()) <= len("2026-01-31")
            moment = (date if day else datetime).fromisoformat(moment.strip())
        except ValueError as error:
            raise StoreError(
                f"{moment!r} is neither a version nor a date: give a number, a day such as 2026-01-31 "
                "(its end) or a time such as 2026-01-31T06:00 (UTC)."
            ) from error
    if isinstance(moment, int):
        return moment
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_vacuumed(folder: DataFolder, files: dict[str, list[str]], log: TableLog, number: int) -> None:
    there = {entry.name for table in files for entry in folder.list(data_folder(table))}
    if all(there.issuperset(paths) for paths in files.values()):
        return
    later = (TableLog(log.versions[: n + 1]) for n in range(number + 1, len(log.versions)))
    whole = next((state for state in later if there.issuperset(state.live)), None)
    advice = f"version {whole.versions[-1].number} is the first that is whole" if whole else "restore them"
    raise StoreError(f"version {number} of {folder.url} was vacuumed, its files are gone: {advice}.")


def _whole(folder: DataFolder, manifests: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """Leave out manifests whose projections were vacuumed; the tables' own files then answer."""
    there = {entry.name for name in PROJECTIONS for entry in folder.list(projection_folder(name))}
    return tuple(manifest for manifest in manifests if there.issuperset(manifest.projected_paths))
