"""The driver's news to those who cannot see it: the run state in its lease, and the gauges of Prometheus."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.runtime.shards import ShardSchedule
from pipeline.runtime.telemetry.metrics import Metrics
from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.telemetry.run_state import NOTES, Activity, RunState, WorkerState
from pipeline.runtime.workers import Crew, Heartbeat, WorkerHandle
from pipeline.store.commits import Lease


@dataclass
class Announcer:
    """Says how far a run is."""

    lease: Lease
    progress: Progress
    metrics: Metrics
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def announce(self, state: str, crew: Crew, wanted_workers: int) -> None:
        """Say what every worker does, and what is done and left; `state` is one of `RunState.state`."""
        schedule = crew.schedule
        workers = tuple(_state_of(worker, schedule) for worker in crew.pool.workers)
        run = RunState(
            started=self.started,
            state=state,
            counts=self.progress.counts,
            rate=self.progress.rate,
            queued_shards=schedule.waiting,
            deaths=schedule.deaths,
            wanted_workers=wanted_workers,
            workers=workers,
            notes=tuple(self.progress.notes[-NOTES:]),
        )
        self.lease.say(run.model_dump(mode="json"))
        self.metrics.show(schedule.waiting, Counter(worker.activity for worker in workers))


def _state_of(worker: WorkerHandle, schedule: ShardSchedule[WorkerHandle]) -> WorkerState:
    # The last heartbeat of one that holds nothing tells of a shard that is committed by now.
    heartbeat = worker.heartbeat if schedule.holds(worker) else Heartbeat()
    return WorkerState(
        name=worker.address and worker.address.name,
        activity=_activity(worker, schedule),
        since=heartbeat.since or worker.since,
        shard=heartbeat.shard,
        items=heartbeat.items,
        items_done=heartbeat.done,
    )


def _activity(worker: WorkerHandle, schedule: ShardSchedule[WorkerHandle]) -> Activity:
    if schedule.is_leaving(worker):
        return "leaving"
    if not schedule.is_loaded(worker):
        return "waiting" if worker.address is None else "loading"
    return "working" if schedule.holds(worker) else "idle"
