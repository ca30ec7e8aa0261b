"""Functions in processes whose memory nothing else has touched.

They are forked from one that has imported the libraries and done nothing: importing takes longer than most
of what is measured.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["tests.planning.counted_trace", "tests.transcoders.large_trace"])


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own."""
    with ProcessPoolExecutor(1, _FORKSERVER) as pool:
        return pool.submit(function, *arguments).result()
