"""A rest for Python's garbage collector while large libraries are imported and models are loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_resting() -> Iterator[None]:
    """Keep Python's garbage collector from walking all objects again and again while most new ones stay.

    Its walks take a quarter of the time in which a worker loads the built-in model.
    """
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            gc.enable()
