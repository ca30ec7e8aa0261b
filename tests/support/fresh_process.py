"""Functions in processes whose memory nothing else has touched.

They are forked from one that has imported the libraries and done nothing: importing takes longer than most
of what is measured.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["tests.support.counted_trace", "tests.support.large_trace"])

SECONDS = 200
"""How long one may take."""


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own.

    Raises:
        TimeoutError: it took too long.
        EOFError: it raised, or its process died; stderr says why.

    """
    receiver, sender = _FORKSERVER.Pipe(duplex=False)
    process = _FORKSERVER.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        if not receiver.poll(SECONDS):
            raise TimeoutError(f"{function.__name__}{arguments} took more than {SECONDS} s")
        return receiver.recv()
    finally:
        process.kill()
        process.join()


def _send(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(function(*arguments))
