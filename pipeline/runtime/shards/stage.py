"""The stages at which an item can fail, and the error that names one."""

from __future__ import annotations

from typing import Literal

Stage = Literal["tokenize", "targets", "read", "attribution", "validation", "pruning", "write", "worker"]
"""The step at which an item failed."""


class StageError(Exception):
    """An item that could not be done, with the stage at which it failed."""

    def __init__(self, stage: Stage, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause
