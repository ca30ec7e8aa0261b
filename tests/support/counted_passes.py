"""A count of the rows that attribution passes compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.attribution import exploration


@contextmanager
def rows_passed() -> Iterator[list[int]]:
    """Yield the numbers of rows of all passes, one entry a block."""
    passed: list[int] = []
    run = exploration.attribution_pass

    def counted(inputs, block):
        passed.append(len(block.rows))
        return run(inputs, block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exploration, "attribution_pass", counted)
        yield passed
