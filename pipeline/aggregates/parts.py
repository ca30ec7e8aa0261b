"""The rows of a table as parts of bounded size, each with all rows of the prompts in it.

A shard's file holds whole prompts, so such files are read some at a time. Files that a compaction wrote are
in the order of `prompt_key` and may be cut within a prompt; they are read by ranges of the key instead, with
row groups outside the range skipped. Keys are hashes, so ranges of equal width hold about as many prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.store import Output, Snapshot
from pipeline.store.commits import shard_of

PART_BYTES = 32 << 20
"""Bytes of files in a part: about 4 million edges, which take about 300 MB while they are summed."""

LOWEST_KEY, KEYS = -(2**63), 2**64


@dataclass(frozen=True)
class Part:
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
        folder = output.folder
        paths = [folder.path(path) for path in self.paths]
        schema = output.schemas[self.table]
        rows = ds.dataset(paths, schema=schema, format="parquet", filesystem=folder.fs)
        return rows.to_table(columns=columns, filter=self._filter())

    def _filter(self) -> pc.Expression | None:
        if self.keys is None:
            return None
        key = pc.field("prompt_key")
        return (key >= self.keys[0]) & (key <= self.keys[1])


def parts(snapshot: Snapshot, table: str, part_bytes: int = PART_BYTES) -> Iterator[Part]:
    """Cut a table into parts."""
    url, sizes = snapshot.folder.url, {e.name: e.bytes for e in snapshot.folder.list(table)}
    shards = [path for path in snapshot.files[table] if shard_of(path)]
    compacted = tuple(path for path in snapshot.files[table] if not shard_of(path))
    for paths in _batches(sorted(shards), sizes, part_bytes):
        yield Part(url, table, tuple(paths))
    if compacted:
        count = -(-sum(sizes[path] for path in compacted) // part_bytes)
        bounds = [LOWEST_KEY + KEYS * i // count for i in range(count + 1)]
        for low, high in pairwise(bounds):
            yield Part(url, table, compacted, (low, high - 1))


def _batches(paths: list[str], sizes: dict[str, int], limit: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for path in paths:
        if batch and sum(sizes[p] for p in batch) + sizes[path] > limit:
            yield batch
            batch = []
        batch.append(path)
    if batch:
        yield batch
