"""A set of prompt keys in 8 bytes each: a driver that has seen ten million prompts holds 80 MB of them.

Most keys lie in one sorted array, where a look-up takes a microsecond or two; the latest lie in a Python set,
which is merged into the array when it has grown to a share of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

RECENT = 1 << 15
"""Keys outside the array before they are merged into it, at least."""

RECENT_SHARE = 8
"""The array has at least so many times the keys that wait to be merged, once it is large."""


class KeySet:
    """Integers of 64 bits, which are added and never taken out."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.int64)
        self._view = memoryview(self._sorted)
        self._recent: set[int] = set()

    def __contains__(self, key: object) -> bool:
        if key in self._recent:
            return True
        at = bisect_left(self._view, key)
        return at < len(self._view) and self._view[at] == key

    def add(self, key: int) -> bool:
        """Add a key, and tell whether it is new."""
        if key in self:
            return False
        self._recent.add(key)
        self._merge_if_many()
        return True

    def update(self, keys: Iterable[int]) -> None:
        """Add many keys."""
        self._recent.update(keys)
        self._merge_if_many()

    def _merge_if_many(self) -> None:
        if len(self._recent) >= max(RECENT, len(self._sorted) // RECENT_SHARE):
            recent = np.fromiter(self._recent, np.int64, len(self._recent))
            self._sorted = np.union1d(self._sorted, recent)
            self._view = memoryview(self._sorted)
            self._recent.clear()
