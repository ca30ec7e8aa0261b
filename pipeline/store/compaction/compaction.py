"""Many small files into few: in prompt order, and once more in the order of features (see `projections`).

A compaction rewrites the files that no earlier one wrote (or all of them), publishes the result as one
Delta version a table, and changes no row. Prompt order is the order of `prompt_key`: each row group then
spans few keys, and its statistics send a reader to one or two of them for a prompt's rows. Rows of one
prompt keep their order. Readers that have the old files open go on with these, which stay until a vacuum.

1. Sort with DuckDB (which spills to disk what memory cannot hold) and write files under names of this
   compaction; nobody sees them.
2. Write the manifest, which says what belongs together; still nobody sees anything.
3. Publish each table: its old files out, the new ones in, in one create-only log entry. Between two
   tables' entries a reader takes some tables from old files and some from new, with the same rows.
One that fails deletes what it wrote and did not publish, since a full disk may be why it failed. One that is
killed leaves it to the next one, which deletes it once it is a day old. Sorting needs free memory or disk of
about the tables' size in memory; on S3 also room for the files that are replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

from pipeline.errors import StoreError
from pipeline.store.compaction.leftovers import delete_unpublished
from pipeline.store.compaction.manifest import Manifest, Rewritten
from pipeline.store.compaction.projections import projections_of
from pipeline.store.compaction.rewriting import Rewriter, add_action, local_files, sorting_database
from pipeline.store.delta import StoredTables, replace_files, show_last_version
from pipeline.store.files import DataFolder
from pipeline.store.layout import manifest_name, new_compaction
from pipeline.store.snapshot import Snapshot, read_published


@dataclass(frozen=True)
class Compacted:
    """Result of a compaction for one table."""

    table: str

    rows: int
    """Rows that were rewritten."""

    files_before: int
    """Files that held them."""

    files: int
    """Files that hold them now, in prompt order."""

    bytes: int
    """Size of these."""

    projections: dict[str, int]
    """Size of each projection."""


def compact(
    stored: StoredTables, everything: bool = False, check_lease: Callable[[], None] = lambda: None
) -> list[Compacted]:
    """Compact what is published; return what was done, an item for each table that had something to do.

    Args:
        stored: the output's tables.
        everything: also rewrite what was compacted before, so that many compactions become one.
        check_lease: raises if another process has taken the output over; called before each version.

    Raises:
        StoreError: another compaction of the same files came first; it has done the work.

    """
    folder, snapshot = stored.folder, read_published(stored)
    todo = {
        table: paths for table in stored.kinds if (paths := _files_to_rewrite(snapshot, table, everything))
    }
    if not todo:
        return []
    id = new_compaction(datetime.now(UTC))
    tried: list[str] = []
    try:
        manifest = _write(stored, todo, id)
        # Before any version: whoever finds the compacted files must find what they stand for.
        folder.create(manifest_name(id), manifest.model_dump_json().encode())
        # The first table last, as in every version: its log numbers the output's versions.
        for table in reversed(manifest.tables):
            check_lease()
            tried.append(table)
            _publish(folder, table, manifest)
            show_last_version(folder, table)
    except BaseException:
        with suppress(StoreError):  # why it failed matters more
            delete_unpublished(stored, id, tried)
        raise
    return [_report(manifest, table) for table in manifest.tables]


def _files_to_rewrite(snapshot: Snapshot, table: str, everything: bool) -> list[str]:
    compactions = snapshot.compacted(table)
    done = {path for manifest in compactions for path in manifest.tables[table].paths}
    rest = [path for path in snapshot.files[table] if path not in done]
    # One compaction that holds everything is as compact as it gets.
    if everything and (rest or len(compactions) > 1):
        return snapshot.files[table]
    return rest


def _write(stored: StoredTables, todo: dict[str, list[str]], id: str) -> Manifest:
    written, projections = {}, {}
    with TemporaryDirectory(prefix="circuit-sweep-") as scratch, sorting_database(scratch) as database:
        for table, paths in todo.items():
            with local_files(stored.folder, paths, scratch) as local:
                rewriter = Rewriter(stored, table, local, id, database)
                written[table] = Rewritten(files=tuple(rewriter.by_prompt()), replaced=tuple(paths))
                projections |= {
                    projection.name: tuple(rewriter.by_feature(projection))
                    for projection in projections_of(table)
                }
    return Manifest(id=id, tables=written, projections=projections, created=datetime.now(UTC))


def _publish(folder: DataFolder, table: str, manifest: Manifest) -> None:
    part = manifest.tables[table]
    actions = [add_action(folder, file) for file in part.files]
    if not replace_files(folder, table, part.replaced, actions, "OPTIMIZE"):
        raise StoreError(
            f"another process changed {table!r} of {folder.url} while it was compacted; what it published "
            "counts. Compact again."
        )


def _report(manifest: Manifest, table: str) -> Compacted:
    part = manifest.tables[table]
    return Compacted(
        table=table,
        rows=sum(file.rows for file in part.files),
        files_before=len(part.replaced),
        files=len(part.files),
        bytes=sum(file.bytes for file in part.files),
        projections={
            projection.name: sum(file.bytes for file in manifest.projections[projection.name])
            for projection in projections_of(table)
        },
    )
