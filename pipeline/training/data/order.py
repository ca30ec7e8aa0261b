"""The order of training, a pure function of the seed and the step.

Sequences come epoch after epoch, each in a permutation of its own. Buffer c is sequences c S to (c + 1) S of
that stream, whole; its rows are shuffled together, by (seed, c), and cut into steps of B rows, the rest left
out. Nothing of an old buffer is mixed into a new one, since that would be state: so a training that was
stopped anywhere goes on with the same rows, after one buffer's activations were computed again. Text that
fits into one buffer is read once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import numpy as np
from jaxtyping import Int

from pipeline.errors import ConfigurationError

_EPOCH, _ROWS = 1, 2
"""What a random stream is for, so that no two are the same."""


@dataclass
class TrainingOrder:
    """Which rows belong to which step."""

    rows_of_sequence: Int[np.ndarray, " sequences"]
    batch: int
    """Rows of a step, B."""

    buffer: int
    """About as many rows are shuffled together."""

    seed: int
    _ends: list[int] = field(default_factory=lambda: [0])
    """Steps before each buffer, as far as they were asked for."""

    def __post_init__(self) -> None:
        """Choose how many sequences are read together."""
        total = int(self.rows_of_sequence.sum())
        self.is_whole = total <= self.buffer
        """The whole text is one buffer: each is the same sequences, in other orders of their rows."""
        repeats = ceil(2 * self.batch / total) if self.is_whole else 1
        wanted = max(self.buffer, 2 * self.batch)
        n_sequences = len(self.rows_of_sequence)
        self.sequences = repeats * n_sequences if self.is_whole else ceil(wanted * n_sequences / total)

    def sequences_of(self, buffer: int) -> Int[np.ndarray, " S"]:
        """Return the sequences of a buffer, by their number in the text."""
        total = len(self.rows_of_sequence)
        if self.is_whole:
            return np.tile(np.arange(total), self.sequences // total)
        first = buffer * self.sequences
        parts, place = [], first
        while place < first + self.sequences:
            epoch, inside = divmod(place, total)
            taken = min(total - inside, first + self.sequences - place)
            parts.append(self._epoch(epoch)[inside : inside + taken])
            place += taken
        return np.concatenate(parts)

    def first_sequences(self, rows: int) -> Int[np.ndarray, " n"]:
        """Return the first sequences of the first epoch that have this many rows together, or all."""
        order = self._epoch(0)
        enough = int(np.searchsorted(np.cumsum(self.rows_of_sequence[order]), rows)) + 1
        return order[:enough]

    def permutation(self, buffer: int, rows: int) -> Int[np.ndarray, " rows"]:
        """Return the order of a buffer's rows."""
        return np.random.default_rng([self.seed, _ROWS, buffer]).permutation(rows)

    def locate(self, step: int) -> tuple[int, int]:
        """Return the buffer of a step, and the number of the step in it.

        Raises:
            ConfigurationError: no buffer has enough rows for a step.

        """
        while self._ends[-1] <= step:
            buffer = len(self._ends) - 1
            rows = int(self.rows_of_sequence[self.sequences_of(buffer)].sum())
            if rows < self.batch:
                raise ConfigurationError(
                    f"a buffer of {self.sequences:,} sequences has {rows:,} tokens to train on, and a step "
                    f"takes {self.batch:,}: lower batch, or raise buffer."
                )
            self._ends.append(self._ends[-1] + rows // self.batch)
        buffer = int(np.searchsorted(self._ends, step, "right")) - 1
        return buffer, step - self._ends[buffer]

    def _epoch(self, epoch: int) -> Int[np.ndarray, " sequences"]:
        if getattr(self, "_kept", (None,))[0] != epoch:
            random = np.random.default_rng([self.seed, _EPOCH, epoch])
            self._kept = (epoch, random.permutation(len(self.rows_of_sequence)))
        return self._kept[1]
