"""The error that names the step at which an item failed."""

from __future__ import annotations


class StageError(Exception):
    """An item that could not be done, with the step at which it failed.

    A kind of work names its steps as it likes. `worker` is the runtime's own: the process died, or took too
    long, or the work raised what it should not.
    """

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause
