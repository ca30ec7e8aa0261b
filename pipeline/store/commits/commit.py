"""The commit of a shard: files under names of their own, then one marker that only the first can create.

A worker may die at any point, and two workers may hold the same shard (one was thought dead): readers see
either the whole shard, once, or nothing of it. Costs one small file for each table and one for the marker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from pipeline.errors import StoreError
from pipeline.seconds import Seconds
from pipeline.store.commits.marker import Marker, read_marker
from pipeline.store.files import DataFile, DataFolder, write_data_file
from pipeline.store.layout import marker_name, new_attempt, shard_file
from pipeline.store.rows import encode
from schemas import Table


def commit_shard(
    folder: DataFolder,
    kinds: Mapping[str, Table],
    shard: str,
    tables: Mapping[str, pa.Table],
    attempt: str,
    seconds: Seconds,
    worker: str | None,
    began: datetime | None,
    ended: datetime | None,
    item_keys: Sequence[int] | None = None,
) -> Marker | None:
    """Makes a shard visible, all of it or nothing; returns its marker, None if another attempt had done so.

    Of the output's `kinds` of table, the first is the one whose rows say that a prompt is done. `item_keys`
    are those of the shard's items, of which some may have given several of these rows.
    """
    attempt = new_attempt(attempt)
    started = time.perf_counter()
    files = _write_files(folder, kinds, shard, tables, attempt)
    done, failed = _keys(tables, next(iter(kinds))), _keys(tables, "failures")
    marker = Marker(
        shard=shard,
        attempt=attempt,
        prompt_keys=done,
        failed_keys=failed,
        item_keys=None if item_keys is None or len(item_keys) == len(done + failed) else tuple(item_keys),
        files=files,
        seconds=replace(seconds, writing=time.perf_counter() - started),
        worker=worker,
        began=began,
        ended=ended,
        created=datetime.now(UTC),
    )
    name = marker_name(shard)
    if folder.create(name, marker.model_dump_json().encode()):
        return marker
    # A create whose answer was lost on the way is refused by its own first try.
    return marker if read_marker(folder, kinds, name).attempt == attempt else None


def _write_files(
    folder: DataFolder, kinds: Mapping[str, Table], shard: str, tables: Mapping[str, pa.Table], attempt: str
) -> dict[str, DataFile]:
    if unknown := set(tables) - set(kinds):
        raise StoreError(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(kinds)}")
    written = [name for name in kinds if name in tables and tables[name].num_rows]

    def write(name: str) -> DataFile:
        data = encode(kinds[name], tables[name])
        return write_data_file(folder, shard_file(name, shard, attempt), data, tables[name].num_rows)

    with ThreadPoolExecutor(len(kinds), "store") as pool:
        return dict(zip(written, pool.map(write, written), strict=True))


def _keys(tables: Mapping[str, pa.Table], name: str) -> tuple[int, ...]:
    return tuple(tables[name]["prompt_key"].to_pylist()) if name in tables else ()
