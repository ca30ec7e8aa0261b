"""The marker of a shard: one small JSON file whose existence means that the shard is done.

It names the files that count, how many rows and bytes they have and their checksums, so that readers need
no listing of the tables and a damaged file can be told from a good one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import DamageError
from pipeline.seconds import Seconds
from pipeline.store.commits.formats import refuse_other_formats
from pipeline.store.files import DataFile, DataFolder
from pipeline.store.layout import COMMITS, marker_name, owner_of, shard_of

Key = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A prompt's key: 64 bits, signed."""


MARKER_FORMAT: Literal[2] = 2
"""Version of a marker's layout; in the first, seconds went by any names of phases."""


class Marker(BaseModel):
    """A finished shard."""

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = MARKER_FORMAT
    """Version of this file's layout."""

    shard: str
    """The shard's id: a hash over its prompt keys and the run key."""

    attempt: str
    """The attempt that won."""

    prompt_keys: tuple[Key, ...]
    """Prompts that have a graph, in the order of their rows."""

    failed_keys: tuple[Key, ...]
    """Prompts that have a row in `failures`."""

    item_keys: tuple[Key, ...] | None = None
    """Items that the shard's id is a hash over, where some became several graphs: each has one of its key;
    None where the keys above are the items'."""

    files: dict[str, DataFile]
    """Each table's file; a table without rows has none."""

    seconds: Seconds
    """Wall seconds that the shard took."""

    worker: str | None = None
    """Name of the worker that committed it; `driver` for what the driver commits itself."""

    began: datetime | None = None
    """Start of the shard in its worker, UTC."""

    ended: datetime | None = None
    """End of its last item, before anything was written, UTC."""

    created: datetime
    """Time of the commit, UTC."""

    @property
    def keys(self) -> tuple[int, ...]:
        """All prompts that are done with it."""
        return self.prompt_keys + self.failed_keys

    @property
    def named_by(self) -> tuple[int, ...]:
        """Keys that the shard's id is a hash over."""
        return self.keys if self.item_keys is None else self.item_keys

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return {table: file.rows for table, file in self.files.items()}

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes by table."""
        return {table: file.bytes for table, file in self.files.items()}

    @property
    def checksums(self) -> dict[str, str]:
        """Checksum by table."""
        return {table: file.checksum for table, file in self.files.items()}


def read_marker(folder: DataFolder, tables: Collection[str], name: str) -> Marker:
    """Reads and checks one marker."""
    return checked_marker(folder, tables, name, folder.read(name))


def checked_marker(folder: DataFolder, tables: Collection[str], name: str, data: bytes) -> Marker:
    """The marker that a file holds, in an output of these tables.

    Raises:
        DamageError: it holds none, or that of another shard, or names files that are not this shard's.
        StoreError: it was written by another version of Circuit Sweep.

    """
    try:
        marker = Marker.model_validate_json(data)
    except ValidationError as error:
        refuse_other_formats(folder, name, data, MARKER_FORMAT, unnamed=MARKER_FORMAT)
        raise _damaged(folder, name, error.errors()[0]["msg"]) from error
    if marker_name(marker.shard) != name:
        raise _damaged(folder, name, f"it speaks of shard {marker.shard}")
    for table, file in marker.files.items():
        if table not in tables or (owner_of(file.path), shard_of(file.path)) != (table, marker.shard):
            raise _damaged(folder, name, f"{file.path} is not a file of this shard in table {table!r:.80}")
    return marker


def read_markers(
    folder: DataFolder, tables: Collection[str], known: Set[str] = frozenset()
) -> Iterator[Marker]:
    """Every shard that is done but the `known` ones, in the order of their ids."""
    skipped = {marker_name(shard) for shard in known}
    names = sorted(entry.name for entry in folder.list(COMMITS) if entry.name.endswith(".json"))
    yield from _read(folder, tables, [name for name in names if name not in skipped])


def read_markers_of(folder: DataFolder, tables: Collection[str], shards: Iterable[str]) -> Iterator[Marker]:
    """Of some shards, those that are done."""
    yield from _read(folder, tables, sorted(map(marker_name, shards)))


def _read(folder: DataFolder, tables: Collection[str], names: list[str]) -> Iterator[Marker]:
    """Markers that are there: one may have been dropped and deleted since it was listed (see `overlaps`)."""
    for name, data in zip(names, folder.read_many(names), strict=True):
        if data is not None:
            yield checked_marker(folder, tables, name, data)


def _damaged(folder: DataFolder, name: str, reason: str) -> DamageError:
    return DamageError(
        f"{folder.url}/{name} is not a marker of a finished shard: {reason}. "
        f"`circuit-sweep verify {folder.url} --repair` takes the shard back; the sweep started again then "
        "traces its prompts anew."
    )
