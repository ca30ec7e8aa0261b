"""The child's side: load the sweep's model once, then answer one message after the other.

What a user can fix, a want of memory and an unexpected error are answers; the process goes on after each.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from pipeline.errors import CircuitSweepError
from pipeline.viewer.live.loaded import Loaded


def serve(pipe: Connection, loaded: Loaded) -> None:
    """Answer messages `(kind, arguments)` with `(True, answer)` or `(False, error)` until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    started = time.monotonic()
    try:
        from pipeline.viewer.live.actions import ACTIONS
        from pipeline.viewer.live.sweeps_model import open_model

        model = open_model(loaded)
    except Exception as error:
        pipe.send((False, _error(error) | {"is_fatal": True}))
        return
    seconds = time.monotonic() - started
    pipe.send((True, {"pid": os.getpid(), "device": str(model.device), "loaded_in_seconds": seconds}))
    while True:
        try:
            kind, body = pipe.recv()
        except EOFError:  # the parent is gone
            return
        try:
            answer = (True, ACTIONS[kind](model, **body))
        except Exception as error:
            answer = (False, _error(error))
        pipe.send(answer)


def _error(error: Exception) -> dict[str, Any]:
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        import gc

        gc.collect()
        return {
            "message": f"there was not enough memory: {str(error)[:300]}",
            "way_out": "Ask for fewer rows or a shorter prompt, or start with another --device.",
            "memory": True,
        }
    if isinstance(error, CircuitSweepError):
        return {"message": str(error)}
    cause = error.__cause__
    if isinstance(cause, CircuitSweepError):  # a stage's error around what the user can fix
        return {"message": str(cause)}
    return {"message": f"a bug in circuit-sweep: {type(error).__name__}: {error}", "bug": True}
