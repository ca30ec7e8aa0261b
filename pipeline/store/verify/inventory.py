"""Everything that an output says of itself, read once: logs, files, markers, manifests.

Read in an order that a sweep at work cannot make look wrong: what a log names has a marker already, and what
a marker names has been written. So logs come first, then markers; files that a marker names and that the
listing, taken before, lacks are looked up one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TypeVar

from pipeline.errors import DamageError
from pipeline.store.commits import (
    Marker,
    checked_marker,
    overlapping,
    published_shards,
)
from pipeline.store.compaction import PROJECTIONS, Manifest, checked_manifest
from pipeline.store.delta import TableLog, mixed_shards, read_log
from pipeline.store.files import DataFile, DataFolder
from pipeline.store.layout import COMMITS, COMPACTIONS, data_folder, marked_shard, projection_folder, shard_of
from pipeline.store.output import Output

Read = TypeVar("Read")


class State(Enum):
    """Fate of a marker's file."""

    WAITING = "not published yet"
    LIVE = "published"
    COMPACTED = "its rows are in compacted files"
    WITHDRAWN = "taken out of its table again"


@dataclass(frozen=True)
class Inventory:
    """Inventory of an output: its markers, logs, manifests and files."""

    output: Output
    logs: Mapping[str, TableLog]
    files: Mapping[str, int]
    """Every file in the tables', projections', markers' and manifests' folders, with its size."""

    markers: Mapping[str, Marker | None]
    """Each marker by its file's name; None if it is damaged."""

    manifests: Mapping[str, Manifest | None]
    """Each compaction's manifest by its file's name; None if it is damaged."""

    @classmethod
    def read(cls, output: Output) -> Inventory:
        """Read it.

        Raises:
            DamageError: a table's log is damaged, so that nobody knows which files count.

        """
        folder = output.folder
        logs = {table: read_log(folder, table) for table in output.tables}
        data = (*map(data_folder, output.tables), *map(projection_folder, PROJECTIONS))
        listed = (*data, *output.tables, COMMITS, COMPACTIONS)
        files = {entry.name: entry.bytes for name in listed for entry in folder.list(name)}
        markers = _read_all(_json(files, COMMITS), folder, output.tables, checked_marker)
        manifests = _read_all(_json(files, COMPACTIONS), folder, output.tables, checked_manifest)
        return cls(output, logs, files, markers, manifests)

    @cached_property
    def damaged(self) -> set[str]:
        """Shards whose markers cannot be read."""
        return {
            shard for name, marker in self.markers.items() if marker is None and (shard := marked_shard(name))
        }

    @cached_property
    def dropped(self) -> frozenset[str]:
        """Shards that do not count, since earlier ones cover some of their prompts."""
        readable = (marker for marker in self.markers.values() if marker is not None)
        return overlapping(readable, published_shards(self.logs.values()))

    @cached_property
    def taken(self) -> list[Marker]:
        """The markers that count."""
        return [m for m in self.markers.values() if m is not None and m.shard not in self.dropped]

    @cached_property
    def compacted(self) -> set[str]:
        """Shards with rows that are in compacted files and nowhere else."""
        return mixed_shards(self.logs.values())

    @cached_property
    def compactions(self) -> dict[str, Manifest]:
        """The manifests that can be read, by the names of their files."""
        return {name: manifest for name, manifest in self.manifests.items() if manifest is not None}

    @cached_property
    def rewritten(self) -> dict[str, DataFile]:
        """Compacted files by path, as manifests list them."""
        return {
            file.path: file
            for manifest in self.compactions.values()
            for part in manifest.tables.values()
            for file in part.files
        }

    def state(self, table: str, path: str) -> State:
        """Fate of a marker's file."""
        log = self.logs[table]
        if path in log.live:
            return State.LIVE
        if path in log.withdrawn:
            return State.WITHDRAWN
        return State.COMPACTED if path in log.added else State.WAITING

    def described(self, path: str) -> DataFile:
        """Return what is written down of a live file; of one that nothing describes, its size alone."""
        known = self.rewritten.get(path) or self._own_files.get(path)
        return known or DataFile(path=path, rows=0, bytes=self.files.get(path, 0), checksum="")

    @cached_property
    def _own_files(self) -> dict[str, DataFile]:
        return {file.path: file for marker in self.taken for file in marker.files.values()}

    def size(self, path: str) -> int | None:
        """Size of a file; None if it is not there."""
        return self.files[path] if path in self.files else self.output.folder.size(path)

    def mixed(self, table: str) -> list[str]:
        """Files that count and whose prompts have rows in compacted files: these, and the rest."""
        shards = ((path, shard_of(path)) for path in self.logs[table].live)
        mixed = [path for path, shard in shards if shard is None or shard in self.compacted]
        files = (m.files[table].path for m in self.taken if m.shard in self.compacted and table in m.files)
        return mixed + [path for path in files if self.state(table, path) is State.WAITING]


def _json(files: Iterable[str], place: str) -> list[str]:
    return sorted(name for name in files if name.startswith(f"{place}/") and name.endswith(".json"))


def _read_all(
    names: list[str],
    folder: DataFolder,
    tables: Collection[str],
    check: Callable[[DataFolder, Collection[str], str, bytes], Read],
) -> dict[str, Read | None]:
    """Read what a folder holds under some names; None of what is damaged, nothing of what has gone."""
    read: dict[str, Read | None] = {}
    for name, data in zip(names, folder.read_many(names), strict=True):
        if data is not None:
            read[name] = None
            with suppress(DamageError):
                read[name] = check(folder, tables, name, data)
    return read
