"""A watch over the cluster: machines that go, workers that hang, and workers that nobody gets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pipeline.runtime.workers.crew import Crew
from pipeline.runtime.workers.placement import Placement
from pipeline.runtime.workers.pool import WorkerHandle
from pipeline.runtime.workers.session import draining

PATIENCE_SECONDS = 60.0
"""Wait for a worker before the user is told, for the first time, what is waited for."""

GRACE_SECONDS = 25.0
"""Time that workers get to finish the item at hand: spot machines live 30 s to 2 min after their notice."""


@dataclass
class ClusterWatch:
    """Asked every few seconds by the driver, which acts on what is found."""

    crew: Crew
    unready_since: float = field(default_factory=time.monotonic)
    """Time since when no worker has been ready, in seconds of `time.monotonic`."""

    _patience: float = PATIENCE_SECONDS

    def on_departing_machines(self) -> list[WorkerHandle]:
        """Return the workers, not told to leave yet, whose machine is about to go."""
        departing = draining()
        staying = self.crew.schedule.staying()
        return [one for one in staying if one.address is not None and one.address.node_id in departing]

    @property
    def silence_seconds(self) -> float:
        """Silence after which a worker counts as hanging: an item may hold its process up to its limit."""
        return self.crew.pool.item_seconds + GRACE_SECONDS

    def hanging(self) -> list[WorkerHandle]:
        """Return the workers that have been silent for too long, and ask all that work for a sign of life."""
        for worker in self.crew.pool.workers:
            if self.crew.schedule.holds(worker):
                self.crew.ask_for_heartbeat(worker)
        return self.crew.pool.silent(self.silence_seconds)

    def waiting_note(self, wanted: Placement) -> str | None:
        """Return what to tell the user about a long wait for the first worker; None if there is none."""
        now = time.monotonic()
        if any(self.crew.schedule.is_loaded(worker) for worker in self.crew.pool.workers):
            self.unready_since, self._patience = now, PATIENCE_SECONDS
            return None
        waited = now - self.unready_since
        if waited <= self._patience:
            return None
        self._patience = 4 * waited  # again, but ever more seldom
        return (
            f"no worker is ready after {waited:.0f} s: loading, or waiting for a machine with "
            f"{wanted.cores} free cores and {wanted.gpus:g} free GPUs"
        )
