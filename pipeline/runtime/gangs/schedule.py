"""Which units wait, and what becomes of one whose gang ended before it was done.

Pure: events go in, units come out; no Ray, no clock. A unit that comes back goes on from its last checkpoint.
Tries are counted as long as none brings a new checkpoint: whatever kills a gang again and again before it can
keep anything would do so forever, while a unit on machines that come and go makes way between deaths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from pipeline.errors import CircuitSweepError, StoreError
from pipeline.runtime.gangs.work import Unit
from pipeline.runtime.shards import StageError

TRIES = 5
"""Tries in a row without a new checkpoint after which a unit is given up."""


@dataclass
class GangSchedule:
    """Units, and what is known of their tries."""

    waiting: deque[Unit]
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Units that were given up, with the reason."""

    deaths: int = 0
    """Gangs that died."""

    _tries: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each unit that came back: the step of its checkpoint then, and tries that began there."""

    def next(self, room: int, resting: Collection[Unit] = ()) -> Unit | None:
        """Take the first unit for whose members there is room, that is not to rest and waits for no other."""
        for unit in self.waiting:
            if unit.members <= room and unit not in resting and set(unit.after) <= set(self.done):
                self.waiting.remove(unit)
                return unit
        return None

    @property
    def has_work(self) -> bool:
        """True while a unit waits that can still be done: it rests on none that was given up."""
        return any(not set(unit.after) & set(self.failed) for unit in self.waiting)

    def finished(self, unit: Unit) -> None:
        """Count a unit that is done."""
        self.done.append(unit.name)

    def stopped(self, unit: Unit) -> None:
        """Take back a unit that was asked to stop."""
        self.waiting.appendleft(unit)

    def died(self, unit: Unit, saved: int, reason: str, *, at_fault: bool = True) -> None:
        """Take back a unit whose gang died; `at_fault` is whether the unit may have killed it."""
        self.deaths += 1
        if at_fault and self._count(unit, saved) >= TRIES:
            self.failed[unit.name] = (
                f"it died {TRIES} times in a row before it could keep anything new; the last time: {reason} "
                "Most often the machine has too little memory: fewer features, or fewer workers.replicas."
            )
        else:
            self.waiting.appendleft(unit)

    def raised(self, unit: Unit, saved: int, error: Exception) -> None:
        """Take back a unit that could not go on, or give it up.

        Raises:
            CircuitSweepError: no other unit could go on either.

        """
        if isinstance(error, StageError):
            self.failed[unit.name] = str(error.cause)
            return
        if isinstance(error, CircuitSweepError) and not isinstance(error, StoreError):
            raise error
        if self._count(unit, saved) < TRIES:
            self.waiting.append(unit)  # others go before it, since waiting may help
        elif isinstance(error, StoreError):
            raise error
        else:
            self.failed[unit.name] = f"{type(error).__name__}: {error}"

    def tries(self, unit: Unit) -> int:
        """Tries of a unit since its last new checkpoint that failed."""
        return self._tries.get(unit.name, (0, 0))[1]

    def _count(self, unit: Unit, saved: int) -> int:
        before, tries = self._tries.get(unit.name, (saved, 0))
        self._tries[unit.name] = (saved, tries + 1 if saved <= before else 1)
        return self._tries[unit.name][1]
