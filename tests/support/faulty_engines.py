"""An engine whose process is killed at chosen points of a shard: while tracing, and around every file.

Points stand in a list beside the model. Each process takes the next one when it loads, and is killed when it
gets there; so a sweep meets all points one after the other. No shard meets two, or the driver would take it
for the one that kills. What writes is replaced in the worker's process alone.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.store.files.local import LocalFolder
from pipeline.store.files.s3 import S3Folder
from pipeline.sweep.engine import Engine, EngineConfig, Trace
from pipeline.sweep.prompts.targets import ChosenTargets

POINTS = "points.json"


@dataclass(frozen=True)
class Point:
    """A moment in the life of a shard."""

    when: str
    """`before` or `after` a file is written, `half` way through it, or while `tracing` the second prompt."""

    place: str = ""
    """Folder of the file: a table, or `_commits`."""


def write_points(folder: Path, points: Sequence[Point]) -> None:
    """Say at which points the next processes are to be killed."""
    (folder / POINTS).write_text(json.dumps([asdict(point) for point in points]))


def points_reached(folder: Path) -> int:
    """How many points a process was killed at."""
    return len(list(folder.glob("reached-*")))


class DiesAtPoints(Engine):
    """Is killed at the point that its process has taken."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.folder, self.traced = Path(config.model).parent, 0
        points = [Point(**point) for point in json.loads((self.folder / POINTS).read_text())]
        self.number = _next_number(self.folder)
        self.point = points[self.number] if self.number < len(points) else Point("never")
        for kind in (LocalFolder, S3Folder):
            for method in ("write", "create"):
                setattr(kind, method, self._dying(getattr(kind, method)))

    def trace(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Trace:
        """Trace the first prompt; the second may be the last."""
        self.traced += 1
        if self.point.when == "tracing" and self.traced == 2:
            self._die("the first shard")
        return super().trace(token_ids, targets)

    def _dying(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def act(folder: Any, name: str, data: bytes) -> Any:
            place = name.partition("/")[0]
            shard = name.rpartition("/")[2][:32]
            here = place == self.point.place and not (self.folder / f"struck-{shard}").exists()
            if here and self.point.when == "before":
                self._die(shard)
            if here and self.point.when == "half":
                _write_half(folder, name, data)
                self._die(shard)
            done = write(folder, name, data)
            if here and self.point.when == "after":
                self._die(shard)
            return done

        return act

    def _die(self, shard: str) -> None:
        (self.folder / f"struck-{shard}").touch()
        (self.folder / f"reached-{self.number}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _next_number(folder: Path) -> int:
    """The first number that no process has taken."""
    number = 0
    while True:
        try:
            (folder / f"taken-{number}").touch(exist_ok=False)
            return number
        except FileExistsError:
            number += 1


def _write_half(folder: Any, name: str, data: bytes) -> None:
    """What a process leaves on a disk that is killed in the middle of a write."""
    path = Path(folder.path(name))
    if name.startswith("_commits/"):
        path = path.with_name(f".{path.name}.{'0' * 32}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[: len(data) // 2])
