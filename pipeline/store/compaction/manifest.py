"""Record of a compaction: one small JSON file, `_compactions/<id>.json`, as a marker is for a shard.

It does not make the compaction visible (the Delta log does); it says which projections belong to which
compacted files, what they replaced, and their checksums, so that files can still be verified after
the shards' own files were vacuumed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import DamageError
from pipeline.store.commits import refuse_other_formats
from pipeline.store.compaction.projections import PROJECTIONS
from pipeline.store.files import DataFile, DataFolder, DataPath
from pipeline.store.layout import COMPACTIONS, compaction_of, manifest_name, owner_of

MANIFEST_FORMAT: Literal[2] = 2
"""Version of a manifest's layout."""


class Rewritten(BaseModel):
    """A table's part of a compaction."""

    model_config = ConfigDict(frozen=True)

    files: tuple[DataFile, ...]
    """The compacted files, in the order of their rows."""

    replaced: tuple[DataPath, ...]
    """The files whose rows these are."""

    @property
    def paths(self) -> list[str]:
        """Names of the compacted files."""
        return [file.path for file in self.files]


class Manifest(BaseModel):
    """A compaction."""

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = MANIFEST_FORMAT
    """Version of this file's layout."""

    id: str
    """Name of the compaction; ids ascend with time."""

    tables: dict[str, Rewritten]
    """New files of each table that had some to compact."""

    projections: dict[str, tuple[DataFile, ...]]
    """The files of each projection: the same rows as the compacted files of its table."""

    created: datetime
    """Time of writing, UTC."""

    @property
    def projected_paths(self) -> set[str]:
        """Names of all projections' files."""
        return {file.path for files in self.projections.values() for file in files}


def read_manifests(folder: DataFolder, tables: Collection[str]) -> tuple[Manifest, ...]:
    """Return every compaction, oldest first, whether it took effect or not."""
    names = sorted(entry.name for entry in folder.list(COMPACTIONS) if entry.name.endswith(".json"))
    files = zip(names, folder.read_many(names), strict=True)
    return tuple(checked_manifest(folder, tables, name, data) for name, data in files if data is not None)


def checked_manifest(folder: DataFolder, tables: Collection[str], name: str, data: bytes) -> Manifest:
    """Return the manifest that a file holds, in an output of these tables.

    Raises:
        DamageError: it holds none, or names files that are not this compaction's.
        StoreError: it was written by another version of Circuit Sweep.

    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        refuse_other_formats(folder, name, data, MANIFEST_FORMAT, unnamed=MANIFEST_FORMAT)
        raise _damaged(folder, name, error.errors()[0]["msg"]) from error
    for reason in _wrong_names(manifest, tables, name):
        raise _damaged(folder, name, reason)
    return manifest


def _wrong_names(manifest: Manifest, tables: Collection[str], name: str) -> Iterator[str]:
    if manifest_name(manifest.id) != name:
        yield f"it speaks of compaction {manifest.id!r:.80}"
    written = {**{table: part.files for table, part in manifest.tables.items()}, **manifest.projections}
    for owner, files in written.items():
        if owner not in tables and owner not in PROJECTIONS:
            yield f"{owner!r:.80} is neither a table nor a projection of this output"
        for file in files:
            if (owner_of(file.path), compaction_of(file.path)) != (owner, manifest.id):
                yield f"{file.path} is not a file of this compaction of {owner}"
    for table, part in manifest.tables.items():
        for path in part.replaced:
            if owner_of(path) != table:
                yield f"{path} is not a file of {table!r:.80}"


def _damaged(folder: DataFolder, name: str, reason: str) -> DamageError:
    return DamageError(
        f"{folder.url}/{name} is damaged: {reason}. Delete it: the tables stay whole, and "
        "`circuit-sweep compact --all` writes the projections that it described again."
    )
