"""The keys that a driver has met, with the state of each, in little more than 9 bytes: there may be millions.

Most keys lie in one sorted array, and are looked up many at a time; the latest lie in a dictionary, about 100
bytes each, which is merged into the array when it has grown to a share of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, repeat

import numpy as np

DONE, FAILED, SEEN = 1, 2, 4
"""States of a key, as bits: it has committed rows, a committed failure, or was met by this driver."""

RECENT = 1 << 15
"""Minimum number of keys outside the array before they are merged into it."""

RECENT_SHARE = 32
"""Size of a large array over the number of keys that wait to be merged into it."""


class SeenKeys:
    """Keys, signed integers of 64 bits, each with its state; nothing is ever forgotten."""

    def __init__(self, done: Sequence[int] = (), failed: Sequence[int] = ()) -> None:
        keys = np.concatenate([np.asarray(done, np.int64), np.asarray(failed, np.int64)])
        order = keys.argsort()
        self._keys = keys[order]
        self._states = np.where(order < len(done), np.uint8(DONE), np.uint8(FAILED))
        self._recent: dict[int, int] = {}
        first = np.flatnonzero(np.append(True, self._keys[1:] != self._keys[:-1]))
        if len(first) < len(keys):  # some keys come several times
            self._keys, self._states = self._keys[first], np.bitwise_or.reduceat(self._states, first)

    def __len__(self) -> int:
        return len(self._keys) + len(self._recent)

    def mark(self, keys: Sequence[int], state: int) -> list[int]:
        """Add a state to each of some keys, in their order, and return the states that they had before."""
        if len(set(keys)) < len(keys):
            return self._mark_repeating(keys, state)
        indices, held = self._find(np.array(keys, np.int64))
        if not held.any():
            return self._mark_recent(keys, state)
        before = np.zeros(len(keys), np.uint8)
        before[held] = self._states[indices[held]]
        self._states[indices[held]] |= state
        if not held.all():
            before[~held] = self._mark_recent(list(compress(keys, ~held)), state)
        return before.tolist()

    def _mark_repeating(self, keys: Sequence[int], state: int) -> list[int]:
        """Mark keys of which some come twice, and then have the state that the first time gave them."""
        distinct = list(dict.fromkeys(keys))
        now = dict(zip(distinct, self.mark(distinct, state), strict=True))
        before = []
        for key in keys:
            before.append(now[key])
            now[key] |= state
        return before

    def _find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices at which keys would stand in the array, and whether they do."""
        if not len(self._keys):
            return keys, np.zeros(len(keys), bool)
        indices = self._keys.searchsorted(keys)
        return indices, self._keys.take(indices, mode="clip") == keys

    def _mark_recent(self, keys: Sequence[int], state: int) -> list[int]:
        before = list(map(self._recent.get, keys, repeat(0)))
        self._recent.update(zip(keys, map(state.__or__, before), strict=True))
        self._merge_if_many()
        return before

    def _merge_if_many(self) -> None:
        if len(self._recent) < max(RECENT, len(self._keys) // RECENT_SHARE):
            return
        count = len(self._recent)
        keys = np.fromiter(self._recent.keys(), np.int64, count)
        states = np.fromiter(self._recent.values(), np.uint8, count)
        order = keys.argsort()
        # Inserted where they belong: sorting all keys again would cost far more than moving them.
        indices = self._keys.searchsorted(keys[order])
        self._keys = np.insert(self._keys, indices, keys[order])
        self._states = np.insert(self._states, indices, states[order])
        self._recent.clear()
