"""A set of prompt keys in 8 bytes each: a driver that has seen ten million prompts holds 80 MB of them.

Most keys lie in one sorted array, and are looked up many at a time; the latest lie in a Python set, which is
merged into the array when it has grown to a share of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

RECENT = 1 << 15
"""Keys outside the array before they are merged into it, at least."""

RECENT_SHARE = 8
"""The array has at least so many times the keys that wait to be merged, once it is large."""


class KeySet:
    """Integers of 64 bits, which are added and never taken out."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._sorted = np.empty(0, np.int64)
        self._recent = set(keys)

    def holds(self, keys: Sequence[int]) -> list[bool]:
        """Tell of each key whether it is in the set."""
        found = self._in_array(np.array(keys, np.int64)).tolist()
        if self._recent.isdisjoint(keys):
            return found
        return [hit or key in self._recent for hit, key in zip(found, keys, strict=True)]

    def add(self, keys: Sequence[int]) -> list[bool]:
        """Add keys in their order, and tell of each whether it was new."""
        new, came = [], set[int]()
        for key, known in zip(keys, self.holds(keys), strict=True):
            new.append(not known and key not in came)  # it may have come twice
            if new[-1]:
                came.add(key)
        self.update(came)
        return new

    def update(self, keys: Iterable[int]) -> None:
        """Add many keys."""
        self._recent.update(keys)
        self._merge_if_many()

    def _in_array(self, keys: np.ndarray) -> np.ndarray:
        if not len(self._sorted):
            return np.zeros(len(keys), bool)
        at = np.searchsorted(self._sorted, keys)
        return self._sorted[np.minimum(at, len(self._sorted) - 1)] == keys

    def _merge_if_many(self) -> None:
        if len(self._recent) < max(RECENT, len(self._sorted) // RECENT_SHARE):
            return
        recent = np.fromiter(self._recent, np.int64, len(self._recent))
        recent = recent[~self._in_array(recent)]
        self._sorted = np.concatenate([self._sorted, recent])
        self._sorted.sort(kind="stable")  # nearly sorted: what was there already is one long run
        self._recent.clear()
