"""Delta Lake versions of the tables: what a sweep committed, as one version per table and night.

The files stay where they are; only the log beside them grows. What was added once is never added again,
even after someone compacted the table: the log itself is asked, and kept for ten years so that it can be
and so that readers can travel back to any night. An app transaction named after the run lets only one of
two drivers that publish at the same time through; the other finds its files already there.

A shard that is dropped because another covers its prompts (`overlaps`) is not added, and if an earlier
version held its files they are taken out.

The first table comes last: a shard that its log names is published in every table, which is how readers know
(`snapshot`) that they need not look at the shard's marker, and its versions number the nights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Set
from dataclasses import dataclass, field

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, CommitProperties, Transaction, create_table_with_add_actions

from pipeline.errors import StoreError
from pipeline.store.commits import Commits, Marker, delete_dropped
from pipeline.store.delta.log import last_version, read_log, replace_files
from pipeline.store.delta.plain_files import show_last_version
from pipeline.store.delta.stored_tables import StoredTables, mixed_shards
from pipeline.store.files import DataFile, DataFolder
from pipeline.store.layout import path_in_table, shard_of
from pipeline.untrusted import uncoloured

KEEP = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
}
"""Table properties that keep the log, and what a compaction replaced, for ten years."""

NO_CHECKPOINTS = PostCommitHookProperties(create_checkpoint=False)
"""A checkpoint is a Parquet file, which a glob for the rows of a table would find; nights need none."""

ATTEMPTS = 5
"""Attempts for a table: each time that another driver publishes to it first is a conflict. So is an
answer that was lost on the way: deltalake does not ask again whether a version that it wrote is there."""

PAUSE = 0.2
"""Seconds before the second attempt; each later pause is three times as long."""


@dataclass(frozen=True)
class Published:
    """The outcome of publishing."""

    versions: dict[str, int]
    """Number of each table's new version; a table in which nothing changed has none."""

    dropped: frozenset[str]
    """Shards that were dropped because others hold their prompts (see `overlaps`)."""


@dataclass(frozen=True)
class Publication:
    """A table and the files that a version of it shall hold."""

    url: str
    """URL of the table."""

    options: dict[str, str] = field(repr=False)
    """Options with which deltalake reaches it."""

    schema: DeltaSchema
    """The table's schema, extra columns included."""

    files: dict[str, AddAction]
    """Log entry of each committed file, by path relative to the output."""

    run: Transaction
    """Name of the run in the log."""

    @property
    def properties(self) -> CommitProperties:
        """Transaction of each commit: of two with the same run, only one follows a version."""
        return CommitProperties(app_transactions=[self.run])


def publish_tables(stored: StoredTables, commits: Commits, run_key: int) -> Published:
    """Add one version to each table that has new files, and create tables that do not exist.

    Raises:
        StoreError: a table cannot be published, or another process published it at the same moment.

    """
    folder, schemas, markers = stored.folder, stored.schemas, commits.taken
    if mixed := commits.dropped & mixed_shards(stored.logs().values()):
        # Before the first table is changed: with their markers gone nobody could tell these rows again.
        raise StoreError(
            f"{folder.url} holds prompts twice: shard {min(mixed)} does not count, because others hold its "
            "prompts, but its rows are in compacted files. "
            f"`circuit-sweep verify {folder.url}` says what helps."
        )
    versions: dict[str, int] = {}
    run = Transaction(f"circuit-sweep:{run_key}", len(markers))
    for table in reversed(schemas):  # the first says what is done, so it comes last
        files = {m.files[table].path: _add_action(m, m.files[table]) for m in markers if table in m.files}
        url = f"{folder.url}/{table}"
        schema = DeltaSchema.from_arrow(schemas[table])
        publication = Publication(url, folder.delta_options(), schema, files, run)
        before = last_version(folder, table)
        _retry(publication, folder, table)
        _remove_dropped(folder, table, commits.dropped)
        show_last_version(folder, table)
        # The log is asked, not deltalake: where an answer was lost, a second attempt finds all files there.
        if (now := last_version(folder, table)) is not None and now != before:
            versions[table] = now
    delete_dropped(folder, commits.dropped)
    return Published({table: versions[table] for table in schemas if table in versions}, commits.dropped)


def _retry(publication: Publication, folder: DataFolder, table: str) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            _create_missing(publication)
            _add_missing(publication, folder, table)
            return
        except (DeltaError, OSError) as error:
            if not left:
                raise StoreError(
                    f"cannot publish {publication.url} as a Delta table: {uncoloured(str(error))}"
                ) from error
            time.sleep(PAUSE * 3 ** (ATTEMPTS - 1 - left))


def _create_missing(publication: Publication) -> None:
    if not DeltaTable.is_deltatable(publication.url, publication.options):
        create_table_with_add_actions(
            publication.url,
            publication.schema,
            list(publication.files.values()),
            # Of two drivers that create it at once the second finds it there, and adds what is missing.
            mode="ignore",
            configuration=KEEP,
            storage_options=publication.options,
            commit_properties=publication.properties,
            post_commithook_properties=NO_CHECKPOINTS,
        )


def _add_missing(publication: Publication, folder: DataFolder, table: str) -> None:
    # The version is fixed before the log is read: whatever another driver adds after it is a conflict.
    delta = DeltaTable(publication.url, storage_options=publication.options)
    added = read_log(folder, table).added
    if missing := [action for path, action in publication.files.items() if path not in added]:
        delta.create_write_transaction(
            missing,
            "append",
            publication.schema,
            commit_properties=publication.properties,
            post_commithook_properties=NO_CHECKPOINTS,
        )


def _remove_dropped(folder: DataFolder, table: str, shards: Set[str]) -> None:
    if not shards:
        return
    log = read_log(folder, table)
    paths = [path for path in log.live if shard_of(path) in shards]
    # A compaction in between may have mixed their rows with others': that no file is live says nothing then.
    if not mixed_shards([log]).isdisjoint(shards) or (
        paths and not replace_files(folder, table, paths, (), "DELETE", changes_rows=True)
    ):
        # Their rows may be among a compaction's now: with the markers gone nobody could tell them again.
        raise StoreError(
            f"`{table}` of {folder.url} was published by another process at this moment: run the same "
            "command again."
        )


def _add_action(marker: Marker, file: DataFile) -> AddAction:
    return AddAction(
        path=path_in_table(file.path),
        size=file.bytes,
        partition_values={},
        modification_time=int(marker.created.timestamp() * 1000),
        data_change=True,
        # No range of keys: they are hashes, so one shard's span nearly all of them.
        stats=json.dumps({"numRecords": file.rows}),
    )
