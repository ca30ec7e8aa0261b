"""The driver: a loop that starts workers, asks the schedule what to do, and does it.

Ray's own restarts are off, because what to do after a death depends on the shard (see `shards.schedule`).
Shards are made while workers work, a few ahead; the driver's own share is a few milliseconds a shard
(`circuit-sweep bench --driver`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any

from ray.exceptions import RayError, RayTaskError

from pipeline.errors import CircuitSweepError
from pipeline.runtime.shards import Shard, ShardSchedule
from pipeline.runtime.signals import first_signal_asks, signals_ignored
from pipeline.runtime.telemetry import Activity, Metrics, Progress, RunState, WorkerState
from pipeline.runtime.workers import (
    Heartbeat,
    PendingCall,
    Placement,
    ShardReport,
    WorkerHandle,
    WorkerPool,
    death_reason,
    draining,
    is_death,
    never_began,
    was_preempted,
)
from pipeline.store import Output, marker_name
from pipeline.store.commits import Lease, read_marker
from pipeline.store.rows import failure_tables, join_tables

PATIENCE_SECONDS = 60.0
"""Wait for a worker before the user is told, for the first time, what is waited for."""

LOOK_SECONDS = 10.0
"""Pause between two looks at the cluster, for machines that came or went and workers that hang."""

NOTES = 10
"""Notes that a run state repeats."""

GRACE_SECONDS = 25.0
"""Time that workers get to finish the item at hand: spot machines live 30 s to 2 min after their notice."""

log = logging.getLogger(__name__)


class WorkerDied(Exception):  # noqa: N818 - its name is what people read in `failures`
    """The process that did an item died."""


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

    schedule: ShardSchedule[WorkerHandle] = field(default_factory=ShardSchedule)
    wanted: Placement = field(default_factory=lambda: Placement(0, 1, 0))
    """Workers that there should be now."""

    abandoned: set[str] = field(default_factory=set)
    """Shards that nobody is to finish any more, because others hold their prompts."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _metrics: Metrics = field(init=False)
    _seen_commit: bool = False
    _start_after: float = 0.0
    _looked: float = float("-inf")
    _patience: float = PATIENCE_SECONDS
    _unready_since: float = field(default_factory=time.monotonic)
    _warned: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Work until no shard is left.

        Raises:
            CircuitSweepError: the work cannot be loaded, or the output cannot be written.
            KeyboardInterrupt: a signal asked for the end; workers have committed what they had.

        """
        self._metrics = Metrics(self.output.url)
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
                    self._say(state)
        if asked.is_set():
            raise KeyboardInterrupt

    def _work(self, source: Iterator[Shard], asked: Event) -> None:
        self._make_shard(source)
        while self.schedule.has_work and not asked.is_set():
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._look()
                self._say("working" if self.progress.working_since else "starting")
            self._start_workers()
            orders = self.schedule.orders()
            for worker in orders.ask:
                self.pool.ask_for_heartbeat(worker, self.schedule.deaths)
            for worker, shard in orders.give:
                self.pool.send(worker, shard)
            # One shard at a time, so that what workers report never waits for many to be tokenised.
            more = self.schedule.wants_shards(self.wanted.replicas) and self._make_shard(source)
            self._collect(0.0 if more else 1.0)
            self.progress.show()
        if asked.is_set():
            self._say("stopping")
            self._wind_up()

    def _make_shard(self, source: Iterator[Shard]) -> bool:
        """Make one more shard, and tell whether more may follow at once."""
        shard = next(source, None)
        if shard is not None:
            self.schedule.add(shard)
        return shard is not None and self.schedule.wants_shards(self.wanted.replicas)

    def _start_workers(self) -> None:
        """Start a worker if there are fewer than wanted, and give up those that found no machine."""
        if self.schedule.wants_workers(self.wanted.replicas) and time.monotonic() >= self._start_after:
            self.schedule.started(self.pool.start(self.wanted))
        staying = self.schedule.staying()
        if (surplus := len(staying) - self.wanted.replicas) > 0:
            for worker in [one for one in staying if one.address is None][:surplus]:
                self.schedule.leaving(worker)
                self._let_go(worker)

    def _look(self) -> None:
        """Look at the cluster and the workers again."""
        self._looked = time.monotonic()
        self.lease.check()
        self.wanted = self.find_placement()
        going = draining()
        for worker in self.schedule.staying():
            if worker.address is not None and worker.address.node_id in going:
                note = f"the machine of worker {worker.name} is about to go"
                self.progress.note(note, worker=worker.name)
                self._ask_to_leave(worker)
        for worker in self.pool.workers:
            if self.schedule.holds(worker):
                self.pool.ask_for_heartbeat(worker, self.schedule.deaths)
        patience = self.pool.item_seconds + GRACE_SECONDS
        for worker in self.pool.silent(patience):
            self._died(worker, f"it gave no sign of life for {patience:.0f} s (see workers.prompt_seconds).")
        self._complain_of_waiting()

    def _complain_of_waiting(self) -> None:
        now = time.monotonic()
        if any(self.schedule.is_loaded(worker) for worker in self.pool.workers):
            self._unready_since, self._patience = now, PATIENCE_SECONDS
        elif (waited := now - self._unready_since) > self._patience:
            self._patience = 4 * waited  # again, but ever more seldom
            self.progress.note(
                f"no worker is ready after {waited:.0f} s: loading, or waiting for a machine with "
                f"{self.wanted.cores} free cores and {self.wanted.gpus:g} free GPUs"
            )

    def _collect(self, timeout: float) -> None:
        """Take in what has ended, waiting for at most one call."""
        for call, result in self.pool.collect(timeout):
            if isinstance(result, RayTaskError):
                self._raised(call, result)
            elif is_death(result):
                self._call_died(call.worker, result)
            else:
                self._ended(call, result)

    def _ended(self, call: PendingCall, result: Any) -> None:
        worker = call.worker
        match call.method, result:
            case "address", address:
                worker.address = address
            case "load", Heartbeat():
                worker.since = datetime.now(UTC)
                self.schedule.joined(worker)
                self.progress.begin()
                self._relay(worker, result.warnings)
            case "heartbeat", Heartbeat():
                worker.heartbeat = result
                self.schedule.answered(worker, call.deaths)
                self._relay(worker, result.warnings)
            case "run", ShardReport():
                self._reported(worker, call.shard, result)

    def _relay(self, worker: WorkerHandle, warnings: Iterable[str]) -> None:
        """Pass on what libraries warn of, each text once: every worker has the same libraries."""
        for text in warnings:
            if text not in self._warned:
                self._warned.add(text)
                self.progress.note(f"worker {worker.name} warns: {text}", worker=worker.name)

    def _reported(self, worker: WorkerHandle, shard: Shard, report: ShardReport) -> None:
        """Count what was committed, and take back what was not."""
        if report.shard is not None:
            self._check_visible(report.shard)
            self._count(report, worker.name)
        left = self.schedule.reported(worker, shard, report.done, committed=report.shard is not None)
        if left is not None:  # what an earlier attempt at the whole left behind belongs to nobody
            self.abandoned.add(left)
        if report.leaving and not self.schedule.is_leaving(worker):
            self.schedule.leaving(worker)
            note = f"worker {worker.name} leaves: it was told to, or a prompt hangs in it"
            self.progress.note(note, worker=worker.name)
        self._relay(worker, report.warnings)
        self._let_go(worker)

    def _count(self, report: ShardReport, worker: str) -> None:
        self.progress.committed(report, worker)
        self._metrics.committed(report)

    def _raised(self, call: PendingCall, error: RayTaskError) -> None:
        """Try again to write a shard; stop if that failed too often, or if the work cannot be loaded."""
        cause = error.cause if isinstance(error.cause, CircuitSweepError) else error
        if call.shard is None or not self.schedule.raised(call.worker, call.shard):
            raise cause
        log.warning(
            "worker %s could not write shard %s, which is done again: %s",
            call.worker.name,
            call.shard.id,
            cause,
        )
        self._let_go(call.worker)

    def _call_died(self, worker: WorkerHandle, death: RayError) -> None:
        reason = death_reason(death)
        if never_began(death):
            raise CircuitSweepError(f"a worker could not be started: {reason}")
        self._died(worker, reason, at_fault=not was_preempted(death))

    def _died(self, worker: WorkerHandle, reason: str, at_fault: bool = True) -> None:
        """Try again what a dead worker held."""
        self.pool.remove(worker)
        self._metrics.died()
        death = self.schedule.died(worker, reason, at_fault=at_fault)
        if death.load_wave:
            self._start_after = time.monotonic() + 2**death.load_wave  # the memory may get free
            self.progress.note(f"a worker died while loading: {reason}")
        if death.held:
            self.progress.note(
                f"a worker died, its {sum(map(len, death.held))} prompts are tried again: {reason}",
                worker=worker.name,
                shards=[shard.id for shard in death.held],
            )
        self.abandoned.update(death.abandoned)
        for shard in death.given_up:
            self._give_up(shard, reason)

    def _give_up(self, shard: Shard, reason: str) -> None:
        """Commit the failure of an item that kills its worker, with what had been rejected beside it."""
        error = WorkerDied(f"the process died {shard.deaths} times while it did this prompt alone: {reason}")
        killers = [item.failed(shard.run_key, "worker", error, shard.deaths) for item in shard.items]
        failed = (*killers, *shard.rejected)
        rows = join_tables(failure_tables(one, self.output.extra_columns) for one in failed)
        marker = self.output.commit(shard.id, rows, worker="driver")
        if marker is None:  # a worker had committed it before it died, and could not say so any more
            marker = read_marker(self.output.folder, self.output.tables, marker_name(shard.id))
        report = ShardReport(
            done=len(shard.items),
            shard=shard.id,
            done_keys=marker.prompt_keys,
            with_rows=len(marker.prompt_keys),
            failed=tuple(one for one in failed if one.prompt_key in marker.failed_keys),
            rows=marker.rows,
            bytes=marker.bytes,
            seconds=marker.seconds,
        )
        self._count(report, marker.worker or "driver")

    def _ask_to_leave(self, worker: WorkerHandle) -> None:
        self.schedule.leaving(worker)
        self.pool.ask_to_leave(worker)
        self._let_go(worker)

    def _let_go(self, worker: WorkerHandle) -> None:
        """End a worker that is leaving and holds nothing more."""
        if self.schedule.may_go(worker):
            self.schedule.left(worker)
            self.pool.remove(worker)

    def _wind_up(self) -> None:
        """Let workers finish the item at hand and commit what they have."""
        self.progress.note("interrupted: workers finish the prompt at hand; a second signal ends at once")
        for worker in list(self.pool.workers):
            self._ask_to_leave(worker)
        deadline = time.monotonic() + GRACE_SECONDS
        while self.schedule.held and time.monotonic() < deadline:
            self._collect(timeout=1.0)

    def _check_visible(self, shard: str) -> None:
        """Find the first commit where the driver reads: machines of a cluster do not share a local disk."""
        if not self._seen_commit and not self.output.folder.exists(marker_name(shard)):
            raise CircuitSweepError(
                f"a worker committed to {self.output.url}, but here nothing arrived: on a cluster, output "
                "must be an s3:// URL or a folder that all machines mount."
            )
        self._seen_commit = True

    def _say(self, state: str) -> None:
        """Tell those who look from outside how far the run is."""
        workers = tuple(self._state_of(worker) for worker in self.pool.workers)
        said = RunState(
            started=self.started,
            state=state,
            counts=self.progress.counts,
            rate=self.progress.rate,
            queued_shards=self.schedule.waiting,
            deaths=self.schedule.deaths,
            wanted_workers=self.wanted.replicas,
            workers=workers,
            notes=tuple(self.progress.notes[-NOTES:]),
        )
        self.lease.say(said.model_dump(mode="json"))
        self._metrics.show(self.schedule.waiting, Counter(worker.activity for worker in workers))

    def _state_of(self, worker: WorkerHandle) -> WorkerState:
        holds = self.schedule.holds(worker)
        heartbeat = worker.heartbeat if holds else Heartbeat()
        return WorkerState(
            name=worker.address and worker.address.name,
            activity=self._activity(worker, bool(holds)),
            since=heartbeat.since or worker.since,
            shard=heartbeat.shard,
            items=heartbeat.items,
            items_done=heartbeat.done,
        )

    def _activity(self, worker: WorkerHandle, holds: bool) -> Activity:
        if self.schedule.is_leaving(worker):
            return "leaving"
        if not self.schedule.is_loaded(worker):
            return "waiting" if worker.address is None else "loading"
        return "working" if holds else "idle"
