"""Validations that do to a worker what the world does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pipeline.runtime.work import Rows
from pipeline.validation.stored_circuits import StoredGraph
from pipeline.validation.work import ValidationWork


class DiesOnce(ValidationWork):
    """Is killed at its third graph, the first time."""

    seen = 0

    def do(self, graph: StoredGraph) -> Rows:
        self.seen += 1
        flag = Path(self.sweep) / "died"
        if self.seen == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().do(graph)
