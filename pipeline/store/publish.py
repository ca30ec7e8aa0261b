"""Delta Lake versions of the tables: what a sweep committed, as one version per table and night.

The files stay where they are; only the log beside them grows. What was added once is never added again,
even after someone compacted the table: the log itself is asked, and kept for ten years so that it can be
and so that readers can travel back to any night. An app transaction named after the run lets only one of
two drivers that publish at the same time through; the other finds its files already there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import pyarrow as pa
from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, CommitProperties, Transaction, create_table_with_add_actions

from pipeline.errors import StoreError
from pipeline.store.folder import Folder
from pipeline.store.marker import DataFile, Marker

KEEP = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
}


def publish_tables(
    folder: Folder, schemas: dict[str, pa.Schema], markers: list[Marker], run_key: int
) -> None:
    """Adds one version to each table that has new files, and makes tables that do not exist."""
    for table, schema in schemas.items():
        files = [(marker, marker.files[table]) for marker in markers if table in marker.files]
        try:
            _publish_table(
                folder, table, schema, files, Transaction(f"circuit-sweep:{run_key}", len(markers))
            )
        except DeltaError as error:
            raise StoreError(f"cannot publish {folder.url}/{table} as a Delta table: {error}") from error


def added_paths(folder: Folder, table: str) -> set[str]:
    """Every path, relative to the folder, that any version of the table ever added."""
    logs = [entry.name for entry in folder.list(f"{table}/_delta_log") if entry.name.endswith(".json")]
    actions = (json.loads(line) for name in logs for line in folder.read(name).splitlines())
    return {f"{table}/{action['add']['path']}" for action in actions if "add" in action}


def _publish_table(
    folder: Folder,
    table: str,
    schema: pa.Schema,
    files: list[tuple[Marker, DataFile]],
    transaction: Transaction,
) -> None:
    url, options = f"{folder.url}/{table}", folder.delta_options()
    delta_schema = DeltaSchema.from_arrow(schema)
    properties = CommitProperties(app_transactions=[transaction])
    if not DeltaTable.is_deltatable(url, options):
        create_table_with_add_actions(
            url,
            delta_schema,
            list(_add_actions(files, ())),
            mode="ignore",
            name=table,
            configuration=KEEP,
            storage_options=options,
            commit_properties=properties,
        )
    # Also right after creating: another driver may have been first, with fewer files.
    if actions := list(_add_actions(files, added_paths(folder, table))):
        delta = DeltaTable(url, storage_options=options)
        delta.create_write_transaction(actions, "append", delta_schema, commit_properties=properties)


def _add_actions(files: list[tuple[Marker, DataFile]], added: Iterable[str]) -> Iterator[AddAction]:
    for marker, file in files:
        if file.path not in added:
            yield AddAction(
                path=file.path.partition("/")[2],
                size=file.bytes,
                partition_values={},
                modification_time=int(marker.created.timestamp() * 1000),
                data_change=True,
                stats=json.dumps({"numRecords": file.rows}),
            )
