"""Record of a compaction: one small JSON file, `_compactions/<id>.json`, as a marker is for a shard.

It does not make the compaction visible (the Delta log does); it says which projections belong to which
compacted files, what they replaced, and their checksums, so that files can still be verified after
the shards' own files were vacuumed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import DamageError
from pipeline.store.commits import refuse_other_formats
from pipeline.store.files import DataFile, DataFolder
from pipeline.store.layout import COMPACTIONS

MANIFEST_FORMAT: Literal[2] = 2
"""Version of a manifest's layout."""


class Rewritten(BaseModel):
    """A table's part of a compaction."""

    model_config = ConfigDict(frozen=True)

    files: tuple[DataFile, ...]
    """The compacted files, in the order of their rows."""

    replaced: tuple[str, ...]
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


def read_manifests(folder: DataFolder) -> tuple[Manifest, ...]:
    """Return every compaction, oldest first, whether it took effect or not."""
    names = sorted(entry.name for entry in folder.list(COMPACTIONS) if entry.name.endswith(".json"))
    files = zip(names, folder.read_many(names), strict=True)
    return tuple(checked_manifest(folder, name, data) for name, data in files if data is not None)


def checked_manifest(folder: DataFolder, name: str, data: bytes) -> Manifest:
    """Return the manifest that a file holds.

    Raises:
        DamageError: it holds none.
        StoreError: it was written by another version of Circuit Sweep.

    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        refuse_other_formats(folder, name, data, MANIFEST_FORMAT, unnamed=MANIFEST_FORMAT)
        raise DamageError(
            f"{folder.url}/{name} is damaged: {error.errors()[0]['msg']}. Delete it: the tables stay whole, "
            "and `circuit-sweep compact --all` writes the projections that it described again."
        ) from error
