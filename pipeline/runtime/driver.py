"""The driver: a loop that keeps workers at hand, asks the schedule what to do, and does it.

Ray's own restarts are off, because what to do after a death depends on the shard (see `shards.schedule`).
Shards are made while workers work, a few ahead; the driver's own share is a few milliseconds a shard
(`circuit-sweep bench --driver`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Event

from pipeline.runtime.outcomes import Outcomes
from pipeline.runtime.shards import Shard, ShardSchedule
from pipeline.runtime.signals import first_signal_asks, signals_ignored
from pipeline.runtime.telemetry import Announcer, Metrics, Progress
from pipeline.runtime.workers import GRACE_SECONDS, ClusterWatch, Crew, Placement, WorkerPool
from pipeline.store import Output
from pipeline.store.commits import Lease

LOOK_SECONDS = 10.0
"""Pause between two looks at the cluster, for machines that came or went and workers that hang."""


@dataclass
class Driver:
    """The loop that has workers do shards until all are committed."""

    shards: Iterable[Shard]
    """Shards to do, made on demand."""

    output: Output
    pool: WorkerPool
    find_placement: Callable[[], Placement]
    """Count the workers that the cluster has room for now."""

    progress: Progress
    lease: Lease
    """The claim that keeps other drivers out, and tells others how far the run is."""

    _wanted: Placement = field(default_factory=lambda: Placement(0, 1, 0))
    """Workers that there should be now."""

    _next_look: float = float("-inf")

    def __post_init__(self) -> None:
        metrics = Metrics(self.output.url)
        self._schedule = ShardSchedule()
        self._crew = Crew(self.pool, self._schedule)
        self._watch = ClusterWatch(self._crew)
        self._outcomes = Outcomes(self._crew, self.output, self.progress, metrics)
        self._announcer = Announcer(self.lease, self.progress, metrics)

    def run(self) -> set[str]:
        """Work until no shard is left.

        Returns: shards that nobody is to finish any more, because others hold their items.

        Raises:
            CircuitSweepError: the work cannot be loaded, or the output cannot be written.
            KeyboardInterrupt: a signal asked for the end; workers have committed what they had.

        """
        state = "failed"
        with first_signal_asks() as asked:
            try:
                self._work(iter(self.shards), asked)
                state = "interrupted" if asked.is_set() else "finished"
            except KeyboardInterrupt:
                state = "interrupted"
                raise
            finally:
                with signals_ignored():  # soon done
                    self.pool.remove_all()
                    self._announce(state)
        if asked.is_set():
            raise KeyboardInterrupt
        return self._outcomes.abandoned

    def _work(self, source: Iterator[Shard], asked: Event) -> None:
        self._make_shard(source)
        while self._schedule.has_work and not asked.is_set():
            if time.monotonic() >= self._next_look:
                self._look()
            self._crew.adjust(self._wanted)
            orders = self._schedule.orders()
            for worker in orders.ask:
                self._crew.ask_for_heartbeat(worker)
            for worker, shard in orders.give:
                self.pool.send(worker, shard)
            # One shard at a time, so that what workers report never waits for many to be tokenised.
            more = self._schedule.wants_shards(self._wanted.replicas) and self._make_shard(source)
            self._collect(0.0 if more else 1.0)
            self.progress.show()
        if asked.is_set():
            self._wind_up()

    def _make_shard(self, source: Iterator[Shard]) -> bool:
        """Make one more shard, and tell whether more may follow at once."""
        shard = next(source, None)
        if shard is not None:
            self._schedule.add(shard)
        return shard is not None and self._schedule.wants_shards(self._wanted.replicas)

    def _collect(self, timeout: float) -> None:
        """Take in the calls that have ended, waiting at most `timeout` seconds for one."""
        for call, result in self.pool.collect(timeout):
            self._outcomes.take(call, result)

    def _look(self) -> None:
        """Look at the cluster and the workers again, and tell others what is seen."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        self.lease.check()  # first: a driver that lost its output must start nothing more
        self._wanted = self.find_placement()
        for worker in self._watch.on_departing_machines():
            note = f"the machine of worker {worker.name} is about to go"
            self.progress.note(note, worker=worker.name)
            self._crew.ask_to_leave(worker)
        for worker in self._watch.hanging():
            silence = f"it gave no sign of life for {self._watch.silence_seconds:.0f} s"
            self._outcomes.died(worker, f"{silence} (see workers.prompt_seconds).")
        if (note := self._watch.waiting_note(self._wanted)) is not None:
            self.progress.note(note)
        self._announce("working" if self.progress.working_since else "starting")

    def _wind_up(self) -> None:
        """Let workers finish the item at hand and commit what they have."""
        self._announce("stopping")
        self.progress.note("interrupted: workers finish the prompt at hand; a second signal ends at once")
        for worker in list(self.pool.workers):
            self._crew.ask_to_leave(worker)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._schedule.held and time.monotonic() < deadline:
            self._collect(timeout=1.0)

    def _announce(self, state: str) -> None:
        self._announcer.announce(state, self._crew, self._wanted.replicas)
