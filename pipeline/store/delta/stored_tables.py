"""An output's tables where they lie: the folder, their kinds, and the sweep's extra columns in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.store.delta.log import TableLog, read_log
from pipeline.store.files import DataFolder
from pipeline.store.layout import shard_of
from schemas import Table


@dataclass(frozen=True)
class StoredTables:
    """Tables in a folder."""

    folder: DataFolder
    """The output."""

    kinds: Mapping[str, Table]
    """The tables by name; the first holds a row for each prompt that is done."""

    extra_columns: pa.Schema
    """The user's columns, as the tables that take them hold them."""

    @property
    def first(self) -> str:
        """Name of the table whose rows say what is done; it is published last, and read first."""
        return next(iter(self.kinds))

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Each table's columns, the extra ones included."""
        return {name: table.with_columns(self.extra_columns) for name, table in self.kinds.items()}

    def logs(self) -> dict[str, TableLog]:
        """Read each table's log, that of the first table first."""
        return {table: read_log(self.folder, table) for table in self.kinds}


def mixed_shards(logs: Iterable[TableLog]) -> set[str]:
    """Return the shards of whose rows some are in compacted files, mixed with others', and nowhere else."""
    gone = (log.published - log.live.keys() for log in logs)
    return {shard for paths in gone for path in paths if (shard := shard_of(path))}
