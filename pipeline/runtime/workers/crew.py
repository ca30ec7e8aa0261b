"""The workers of a run. Each is a process in the pool and a name in the schedule, and comes and goes in both.

A worker goes in one of two ways: it is asked to leave, finishes the item at hand, commits that and hands back
the rest; or it dies, and what it held is tried again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.runtime.shards import Death, ShardSchedule
from pipeline.runtime.workers.placement import Placement
from pipeline.runtime.workers.pool import WorkerHandle, WorkerPool


@dataclass
class Crew:
    """All workers, those that load or leave among them."""

    pool: WorkerPool
    schedule: ShardSchedule[WorkerHandle]
    _start_after: float = 0.0
    """Time before which no worker is started, in seconds of `time.monotonic`."""

    def adjust(self, wanted: Placement) -> None:
        """Start a worker if there are fewer than wanted; remove those too many that found no machine yet."""
        if self.schedule.wants_workers(wanted.replicas) and time.monotonic() >= self._start_after:
            self.schedule.started(self.pool.start(wanted))
        staying = self.schedule.staying()
        if (surplus := len(staying) - wanted.replicas) > 0:
            # One that has a machine works on: what it has loaded is worth more than a number.
            for worker in [one for one in staying if one.address is None][:surplus]:
                self.schedule.leaving(worker)
                self.let_go(worker)

    def ask_for_heartbeat(self, worker: WorkerHandle) -> None:
        """Ask a worker for a sign of life."""
        self.pool.ask_for_heartbeat(worker, self.schedule.deaths)

    def ask_to_leave(self, worker: WorkerHandle) -> None:
        """Let a worker finish the item at hand and hand back the rest."""
        self.schedule.leaving(worker)
        self.pool.ask_to_leave(worker)
        self.let_go(worker)

    def let_go(self, worker: WorkerHandle) -> None:
        """End a worker that is leaving and holds nothing more."""
        if self.schedule.may_go(worker):
            self.schedule.left(worker)
            self.pool.remove(worker)

    def died(self, worker: WorkerHandle, reason: str, *, at_fault: bool) -> Death:
        """Remove a dead worker and take back what it held (see `ShardSchedule.died`)."""
        self.pool.remove(worker)
        death = self.schedule.died(worker, reason, at_fault=at_fault)
        if death.load_wave:  # each wave waits twice as long as the last: the memory may get free
            self._start_after = time.monotonic() + 2**death.load_wave
        return death
