"""Kinds of work without work, in a file that imports little: each of their processes waits for that."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.runtime.work import Rows, WorkerResources
from schemas import TABLES, Table


@dataclass
class Witness:
    """Writes down what its worker was given."""

    file: str
    tables: ClassVar[tuple[Table, ...]] = tuple(TABLES.values())
    memory_bytes: ClassVar[int | None] = None

    def load(self, resources: WorkerResources, output: Any) -> None:
        seen = asdict(resources) | {"environment": dict(os.environ)}
        Path(self.file).write_text(json.dumps(seen))

    def do(self, item: Any) -> Rows:
        raise NotImplementedError
