"""Where a prompt can fail, and the error that says so."""

from __future__ import annotations

from typing import Literal

Stage = Literal["tokenize", "targets", "read", "attribution", "validation", "pruning", "write", "worker"]
"""What was being done with a prompt."""


class StageError(Exception):
    """A prompt that could not be traced, with the stage at which it failed."""

    def __init__(self, stage: Stage, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause
