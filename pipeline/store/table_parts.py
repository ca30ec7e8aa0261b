"""The rows of a table as parts of bounded size, each with all rows of the prompts in it.

A shard's file holds whole prompts, so such files are read some at a time. Files that a compaction wrote are
in the order of `prompt_key` and may be cut within a prompt; they are read by ranges of the key instead, with
row groups outside the range skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DamageError
from pipeline.store.commits import key_ranges
from pipeline.store.files import files_dataset
from pipeline.store.layout import data_folder, shard_of
from pipeline.store.output import Output
from pipeline.store.snapshot import Snapshot

PART_BYTES = 32 << 20
"""Bytes of files in a part: about 4 million edges, which take about 300 MB while they are summed."""


@dataclass(frozen=True)
class TablePart:
    """Some rows of one table; small enough to send anywhere."""

    url: str
    """The sweep's output."""

    table: str

    paths: tuple[str, ...]
    """Files, relative to the output."""

    keys: tuple[int, int] | None = None
    """First and last prompt key; None for all."""

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Read the rows."""
        output = Output(self.url)
        rows = files_dataset(output.folder, self.paths, output.schemas[self.table])
        return rows.to_table(columns=columns, filter=self._filter())

    def _filter(self) -> pc.Expression | None:
        if self.keys is None:
            return None
        key = pc.field("prompt_key")
        return (key >= self.keys[0]) & (key <= self.keys[1])


def table_parts(snapshot: Snapshot, table: str, part_bytes: int = PART_BYTES) -> Iterator[TablePart]:
    """Cut a table into parts; one without rows where no file holds any, so that sums have their columns."""
    url, sizes = snapshot.folder.url, {e.name: e.bytes for e in snapshot.folder.list(data_folder(table))}
    if lost := [path for path in snapshot.files[table] if path not in sizes]:
        raise DamageError(
            f"{url}/{lost[0]} is missing, and {len(lost) - 1:,} more: `circuit-sweep verify {url}` says what "
            "to do."
        )
    if not snapshot.files[table]:
        yield TablePart(url, table, ())
        return
    shards = [path for path in snapshot.files[table] if shard_of(path)]
    compacted = tuple(path for path in snapshot.files[table] if not shard_of(path))
    for paths in _batches(sorted(shards), sizes, part_bytes):
        yield TablePart(url, table, tuple(paths))
    if compacted:
        count = -(-sum(sizes[path] for path in compacted) // part_bytes)
        for keys in key_ranges(count):
            yield TablePart(url, table, compacted, keys)


def _batches(paths: list[str], sizes: dict[str, int], limit: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for path in paths:
        if batch and size + sizes[path] > limit:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += sizes[path]
    if batch:
        yield batch
