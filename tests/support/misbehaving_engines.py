"""Engines that do to a worker what the world does. Which prompts they act on is said by a word in them.

The word's id is all that reaches an engine. What must happen only once is remembered beside the model.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import TranscoderError
from pipeline.sweep.engine import Engine, EngineConfig, Trace
from pipeline.sweep.prompts.targets import ChosenTargets
from tests.support.tiny_model import WORDS

KILLS = WORDS.index("w27")
KILLS_ONCE = WORDS.index("w26")


class Killed(Engine):
    """Dies without a word, as of a segmentation fault or of the kernel's want of memory."""

    def trace(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Trace:
        if KILLS in token_ids or (KILLS_ONCE in token_ids and self._is_first_time(token_ids)):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().trace(token_ids, targets)

    def _is_first_time(self, token_ids: Sequence[int]) -> bool:
        flag = Path(self.config.model).parent / f"died-{'-'.join(map(str, token_ids))}"
        first = not flag.exists()
        flag.touch()
        return first


class Slow(Engine):
    """Takes a quarter of a second more for each prompt, and says when it has begun."""

    def trace(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Trace:
        time.sleep(0.25)
        trace = super().trace(token_ids, targets)
        (Path(self.config.model).parent / f"traced-by-{os.getpid()}").touch()
        return trace


class Hangs(Slow):
    """Never returns from some prompts."""

    def trace(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Trace:
        if KILLS in token_ids:
            time.sleep(3600)
        return super().trace(token_ids, targets)


class HangsWithTheLock(Engine):
    """Never returns from some prompts, nor lets any other thread of its process move."""

    def trace(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Trace:
        if KILLS in token_ids:
            ctypes.PyDLL(None).sleep(3600)
        return super().trace(token_ids, targets)


class DiesLoading(Engine):
    """Never gets as far as a model."""

    def __init__(self, config: EngineConfig) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class RefusesToLoad(Engine):
    """Finds something wrong with files that the driver does not have."""

    def __init__(self, config: EngineConfig) -> None:
        raise TranscoderError("only the worker sees this")
