"""One table's rows, read from many files, sorted, and written to few: the work of a compaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.compaction.projections import Projection
from pipeline.store.database import open_database
from pipeline.store.delta import StoredTables
from pipeline.store.files import DataFile, DataFolder, LocalFolder, write_data_file
from pipeline.store.layout import compacted_file, path_in_table, projection_file
from pipeline.store.rows import BLOOM_VALUES, COMPACTION_LEVEL, write_options
from schemas import ROW_GROUP_ROWS, Table

FILE_ROW_GROUPS = 128
"""Row groups a file: 16 million rows, 160 MB of edges, which is also what writing one holds in memory."""


@dataclass(frozen=True)
class Rewriter:
    """Sorter of the rows of some of a table's files."""

    stored: StoredTables
    """The output's tables."""

    name: str
    """The table."""

    paths: Sequence[str]
    """The files on this machine."""

    id: str
    """The compaction."""

    database: duckdb.DuckDBPyConnection
    """Database that sorts the rows."""

    @property
    def table(self) -> Table:
        """The table's kind."""
        return self.stored.kinds[self.name]

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's columns, the extra ones included."""
        return self.stored.schemas[self.name]

    def by_prompt(self) -> list[DataFile]:
        """Write the rows in prompt order."""
        features = [name for name in self.schema.names if name.endswith("feature")]
        options = write_options(
            self.schema.names, self.table.byte_stream_split, self.table.delta, self.table.plain
        )
        return list(
            self._write(
                partial(compacted_file, self.name), ("prompt_key",), options | _bloom_filters(features)
            )
        )

    def by_feature(self, projection: Projection) -> list[DataFile]:
        """Write the rows in the order of a projection."""
        split = (*self.table.byte_stream_split, *projection.spread)
        options = write_options(self.schema.names, split, (), ())
        return list(
            self._write(
                partial(projection_file, projection.name),
                (*projection.order, "prompt_key"),
                options | _bloom_filters(projection.spread),
            )
        )

    def _write(
        self, path_of: Callable[[str, int], str], order: tuple[str, ...], options: dict[str, Any]
    ) -> Iterator[DataFile]:
        batches = self._sorted(order)
        for number in count():
            sink = pa.BufferOutputStream()
            rows = self._write_file(sink, batches, options)
            if not rows:
                return
            yield write_data_file(self.stored.folder, path_of(self.id, number), sink.getvalue(), rows)

    def _write_file(
        self, sink: pa.BufferOutputStream, batches: Iterator[pa.Table], options: dict[str, Any]
    ) -> int:
        rows = 0
        with pq.ParquetWriter(sink, self.schema, compression_level=COMPACTION_LEVEL, **options) as writer:
            # The range first: `zip` takes from it before it takes a batch, so a full file loses none.
            for _, batch in zip(range(FILE_ROW_GROUPS), batches, strict=False):
                # DuckDB gives back neither dictionaries nor the meanings of columns.
                writer.write_table(batch.cast(self.schema))
                rows += batch.num_rows
        return rows

    def _sorted(self, order: tuple[str, ...]) -> Iterator[pa.Table]:
        """Yield all rows in order, a row group at a time."""
        with self.database.cursor() as connection:
            rows = connection.read_parquet(list(self.paths), file_row_number=True)
            # Within a prompt as in its files, which is the graph's own order; an earlier compaction may
            # have cut a prompt between two files.
            rows = rows.order(", ".join((*order, "file_index", "file_row_number")))
            reader = rows.select(*self.schema.names).to_arrow_reader(ROW_GROUP_ROWS)
            yield from _row_groups(reader)


@contextmanager
def sorting_database(scratch: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB that spills into a folder, and keeps nothing of the files that it has read."""
    with open_database({"enable_external_file_cache": False}) as database:
        database.execute("set temp_directory = ?", [scratch])
        yield database


@contextmanager
def local_files(folder: DataFolder, paths: Sequence[str], scratch: str) -> Iterator[list[str]]:
    """Give paths on this machine, to which the files of a store are copied for as long as this lasts."""
    if isinstance(folder, LocalFolder):
        folder.refuse_links_outside(paths)
        yield [folder.path(path) for path in paths]
        return
    with TemporaryDirectory(dir=scratch) as here:
        local = [str(Path(here, f"{number}.parquet")) for number in range(len(paths))]
        with folder.explained("read files of", ""):
            folder.fs.get([folder.path(path) for path in paths], local)
        yield local


def add_action(folder: DataFolder, file: DataFile) -> dict[str, Any]:
    """Return the Delta log's entry of a compacted file, with its rows and the range of their prompts."""
    with folder.open(file.path, file.bytes) as opened:
        metadata = pq.read_metadata(opened)
    column = metadata.schema.names.index("prompt_key")
    keys = [metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups)]
    statistics = {
        "numRecords": file.rows,
        "minValues": {"prompt_key": min(key.min for key in keys)},
        "maxValues": {"prompt_key": max(key.max for key in keys)},
        "nullCount": {"prompt_key": 0},
    }
    return {
        "path": path_in_table(file.path),
        "partitionValues": {},
        "size": file.bytes,
        "stats": json.dumps(statistics),
    }


def _row_groups(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Cut a stream of batches into tables of as many rows as a row group has."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        while sum(part.num_rows for part in waiting) >= ROW_GROUP_ROWS:
            rows = pa.Table.from_batches(waiting)
            yield rows.slice(0, ROW_GROUP_ROWS)
            waiting = rows.slice(ROW_GROUP_ROWS).to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


def _bloom_filters(columns: Sequence[str]) -> dict[str, Any]:
    """Return writer options that let readers skip row groups without a feature, where ranges cannot."""
    return {"bloom_filter_options": {name: {"ndv": BLOOM_VALUES, "fpp": 0.05} for name in columns} or None}
