"""Workers without work, in a file that imports little: each of their processes waits for that."""

from __future__ import annotations

import os
from typing import Any

from pipeline.runtime.worker import Tables, Worker


class Witness:
    """A worker that tells what it was started with."""

    def __init__(self, config: WitnessConfig, threads: int) -> None:
        self.threads = threads

    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class WitnessConfig:
    kind = Witness


class Owner(Worker):
    """A worker that has nothing to do."""

    def _load(self) -> None: ...

    def _trace(self, *_: Any) -> Tables: ...


class OwnerConfig:
    kind = Owner
