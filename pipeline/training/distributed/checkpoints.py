"""Checkpoints that count or do not: files under an attempt's own name, then one marker that only the first
creates.

The protocol of a sweep's shards. A process may die at any point, and a machine that was thought dead may
still write: a reader sees a whole checkpoint of one attempt, or none. The marker lists files with sizes and
checksums, so a file that was cut short or changed is found before a number of it is used, and an earlier
checkpoint takes its place.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load, save
from torch import Tensor
from xxhash import xxh3_128_hexdigest

from pipeline.errors import DamageError, StoreError
from pipeline.store import DataFolder
from pipeline.training.distributed.layout import marker_of, parse_marker, shard_of, unit_folder
from pipeline.training.recipe import Schedule

log = logging.getLogger(__name__)

KEPT = 2
"""Last checkpoints that are kept; the one before the decay stays too."""

HEADER = 8
"""Bytes in front of the header of a safetensors file, which say its size."""


class ShardFile(BaseModel):
    """A process's file of a checkpoint."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    checksum: str
    """`xxh3-128:` and the hash of the file's bytes."""


class Marker(BaseModel):
    """A complete checkpoint."""

    model_config = ConfigDict(frozen=True)

    format: int = 1
    unit: str
    steps: int
    """Steps of the whole training."""

    step: int | None
    """Steps that were done; None for the export."""

    attempt: str
    shards: tuple[ShardFile, ...]
    """Files, by rank."""

    before_decay: bool = False
    """True for the one that a training with more tokens goes on from."""

    seconds: float = 0.0
    """Seconds that its steps took, those of earlier processes among them."""

    created: datetime

    @property
    def name(self) -> str:
        """File of the marker."""
        return marker_of(self.unit, self.steps, self.step)


@dataclass
class Checkpoints:
    """The checkpoints of one unit."""

    folder: DataFolder
    unit: str
    attempt: str = field(default_factory=lambda: uuid4().hex[:8])
    """Name of this attempt; all processes of a gang have the same."""

    def write_shard(
        self, steps: int, step: int | None, rank: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]
    ) -> ShardFile:
        """Write a process's file.

        Raises:
            StoreError: it cannot be written.

        """
        data = save(dict(tensors), metadata={"info": json.dumps(info, sort_keys=True)})
        name = shard_of(self.unit, steps, step, self.attempt, rank)
        self.folder.write(name, data)
        return ShardFile(name=name, bytes=len(data), checksum=f"xxh3-128:{xxh3_128_hexdigest(data)}")

    def commit(
        self,
        steps: int,
        step: int | None,
        shards: list[ShardFile],
        *,
        before_decay: bool = False,
        seconds: float = 0.0,
    ) -> bool:
        """Make a checkpoint count; False if another attempt did so before."""
        marker = Marker(
            unit=self.unit,
            steps=steps,
            step=step,
            attempt=self.attempt,
            shards=tuple(shards),
            before_decay=before_decay,
            seconds=seconds,
            created=datetime.now(UTC),
        )
        if self.folder.create(marker.name, marker.model_dump_json(indent=1).encode()):
            return True
        # A create whose answer was lost is refused by its own first try.
        there = read_marker(self.folder, marker.name)
        return there is not None and there.attempt == self.attempt

    def markers(self) -> list[Marker]:
        """Return the complete checkpoints that can be read, the latest first and the export before all."""
        names = [entry.name for entry in self.folder.list(unit_folder(self.unit))]
        markers = (read_marker(self.folder, name) for name in names if parse_marker(name) is not None)
        return sorted(
            (one for one in markers if one is not None),
            key=lambda one: (one.step is None, one.step or 0, one.steps),
            reverse=True,
        )

    def saved(self) -> int:
        """Return the step of the last complete checkpoint; 0 without one."""
        return max((one.step for one in self.markers() if one.step is not None), default=0)

    def to_go_on_from(self, schedule: Schedule) -> list[Marker]:
        """Return the states that a training may go on from, the latest first.

        With other tokens they are those whose learning rate had not begun to fall.
        """
        states = [one for one in self.markers() if one.step is not None]
        return [one for one in states if one.steps == schedule.steps or _may_grow(one, states, schedule)]

    def exported(self, steps: int) -> Marker | None:
        """Return the export of a training of so many steps, if it is complete."""
        return next((one for one in self.markers() if one.step is None and one.steps == steps), None)

    def read(self, marker: Marker, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors of a process's file, and its other entries.

        Raises:
            DamageError: the file is not what was written.

        """
        data = read_shard(self.folder, marker.shards[rank])
        size = int.from_bytes(data[:HEADER], "little")
        header = json.loads(data[HEADER : HEADER + size])
        return load(data), json.loads(header["__metadata__"]["info"])

    def delete_old(self, steps: int) -> None:
        """Delete the checkpoints of a training that later ones stand for."""
        states = [one for one in self.markers() if one.step is not None and not one.before_decay]
        for marker in [one for one in states if one.steps == steps][KEPT:]:
            self.folder.delete([marker.name])  # first: a marker must never name what is gone
            self.folder.delete([shard.name for shard in marker.shards])

    def orphans(self) -> list[str]:
        """Return the files that no marker names."""
        there = {entry.name for entry in self.folder.list(unit_folder(self.unit))}
        named = {shard.name for marker in self.markers() for shard in marker.shards}
        return sorted(name for name in there - named if parse_marker(name) is None)


def _may_grow(marker: Marker, states: list[Marker], schedule: Schedule) -> bool:
    limit = max((one.step for one in states if one.before_decay and one.steps == marker.steps), default=0)
    return marker.step <= min(limit, schedule.decay_from)


def read_marker(folder: DataFolder, name: str) -> Marker | None:
    """Read a marker; None if it is gone, or cannot be read, which a warning says."""
    data = folder.read_if_there(name)
    if data is None:
        return None
    try:
        return Marker.model_validate_json(data)
    except ValidationError as error:
        log.warning("%s/%s is no marker of a checkpoint: %s", folder.url, name, error.errors()[0]["msg"])
        return None


def read_shard(folder: DataFolder, shard: ShardFile) -> bytes:
    """Read a process's file of a checkpoint, whole and as it was written.

    Raises:
        DamageError: it is not.

    """
    try:
        data = folder.read(shard.name, shard.bytes)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DamageError(f"{folder.url}/{shard.name} is gone, and a checkpoint names it.") from error
        raise
    if len(data) != shard.bytes:
        raise DamageError(
            f"{folder.url}/{shard.name} has {len(data):,} bytes, and {shard.bytes:,} were written."
        )
    if f"xxh3-128:{xxh3_128_hexdigest(data)}" != shard.checksum:
        raise DamageError(f"{folder.url}/{shard.name} is not what was written: its checksum differs.")
    return data
