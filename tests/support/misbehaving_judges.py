"""Judges that do to a worker what the world does."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.worker import Tables, Worker
from pipeline.validation.stored_circuits import GraphPrompt
from pipeline.validation.worker import Judge, JudgeConfig


class DiesOnce(Judge):
    """Is killed at its third prompt, the first time."""

    seen = 0

    def _trace(self, prompt: GraphPrompt, run_key: int, seconds: Counter[str]) -> Tables:
        type(self).seen += 1
        flag = Path(self.config.sweep) / "died"
        if self.seen == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._trace(prompt, run_key, seconds)


@dataclass(frozen=True)
class DiesOnceConfig(JudgeConfig):
    @property
    def kind(self) -> type[Worker]:
        return DiesOnce
