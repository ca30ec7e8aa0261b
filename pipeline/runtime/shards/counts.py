"""The counts of one start, from the reading of items to the report: the same record everywhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Items of one start, by what became of them."""

    total: int | None = None
    """Items that there are, repeated ones among them, where that can be told without reading to the end."""

    read: int = 0
    """Items read so far."""

    done: int = 0
    """Items that this start gave rows."""

    failed: int = 0
    """Items that failed in this start."""

    already_done: int = 0
    """Items that had rows before."""

    already_failed: int = 0
    """Items whose failures had been committed before."""

    repeated: int = 0
    """Items that are the same as an earlier one."""

    same_id: int = 0
    """Items whose id an earlier, different one has."""

    @property
    def passed_over(self) -> int:
        """Items that needed nothing: done or failed before, or repeated."""
        return self.already_done + self.already_failed + self.repeated

    @property
    def completed(self) -> int:
        """Items that need nothing more."""
        return self.done + self.failed + self.passed_over

    @property
    def left(self) -> int | None:
        """Items still to do, where that is known."""
        return None if self.total is None else max(0, self.total - self.completed)

    @property
    def new(self) -> int:
        """Items that this start was the first to try."""
        return self.done + self.failed

    @property
    def all_failed(self) -> int:
        """Items without rows, of this start or of earlier ones."""
        return self.failed + self.already_failed
