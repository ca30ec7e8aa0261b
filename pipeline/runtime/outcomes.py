"""The outcomes of calls to workers, and what follows from each for shards, workers and those who watch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import CircuitSweepError
from pipeline.runtime.given_up import commit_given_up
from pipeline.runtime.shards import Shard
from pipeline.runtime.telemetry import Metrics, Progress
from pipeline.runtime.workers import (
    Crew,
    Heartbeat,
    PendingCall,
    ShardReport,
    WorkerHandle,
    death_reason,
    is_death,
    never_began,
    raised_error,
    was_preempted,
)
from pipeline.store import Output, marker_name

log = logging.getLogger(__name__)


@dataclass
class Outcomes:
    """Takes in one outcome after the other."""

    crew: Crew
    output: Output
    progress: Progress
    metrics: Metrics
    abandoned: set[str] = field(default_factory=set)
    """Shards that nobody is to finish any more, because others hold their items."""

    _has_seen_commit: bool = False
    _warned: set[str] = field(default_factory=set)
    """Warnings that the user has been told."""

    def take(self, call: PendingCall, result: Any) -> None:
        """Take in what a call returned, or the error with which it ended.

        Raises:
            CircuitSweepError: no worker can do the work, or the output cannot be written.

        """
        worker = call.worker
        if is_death(result):
            if never_began(result):
                raise CircuitSweepError(f"a worker could not be started: {death_reason(result)}")
            self.died(worker, death_reason(result), at_fault=not was_preempted(result))
            return
        if (error := raised_error(result)) is not None:
            self._raised(call, error)
            return
        match call.method, result:
            case "address", address:
                worker.address = address
            case "load", Heartbeat():
                worker.since = datetime.now(UTC)
                self.crew.schedule.joined(worker)
                self.progress.begin()
                self._relay(worker, result.warnings)
            case "heartbeat", Heartbeat():
                worker.heartbeat = result
                self.crew.schedule.answered(worker, call.deaths)
                self._relay(worker, result.warnings)
            case "run", ShardReport():
                self._reported(worker, call.shard, result)

    def died(self, worker: WorkerHandle, reason: str, *, at_fault: bool = True) -> None:
        """Try again what a dead worker held; `at_fault` is whether that may have killed it."""
        self.metrics.died()
        death = self.crew.died(worker, reason, at_fault=at_fault)
        if death.load_wave:
            self.progress.note(f"a worker died while loading: {reason}")
        if death.held:
            self.progress.note(
                f"a worker died, its {sum(map(len, death.held))} prompts are tried again: {reason}",
                worker=worker.name,
                shards=[shard.id for shard in death.held],
            )
        self.abandoned.update(death.abandoned)
        for shard in death.given_up:
            self._count(*commit_given_up(self.output, shard, reason))

    def _reported(self, worker: WorkerHandle, shard: Shard, report: ShardReport) -> None:
        """Count what was committed, and take back what was not."""
        schedule = self.crew.schedule
        if report.shard is not None:
            self._check_visible(report.shard)
            self._count(report, worker.name)
        left = schedule.reported(worker, shard, report.done, committed=report.shard is not None)
        if left is not None:  # what an earlier attempt at the whole left behind belongs to nobody
            self.abandoned.add(left)
        if report.leaving and not schedule.is_leaving(worker):  # by its own wish: one that was asked is known
            schedule.leaving(worker)
            note = f"worker {worker.name} leaves: it was told to, or a prompt hangs in it"
            self.progress.note(note, worker=worker.name)
        self._relay(worker, report.warnings)
        self.crew.let_go(worker)

    def _raised(self, call: PendingCall, error: Exception) -> None:
        """Try again to write a shard; stop if that failed too often, or if the work cannot be loaded."""
        if call.shard is None or not self.crew.schedule.raised(call.worker, call.shard):
            raise error
        log.warning(
            "worker %s could not write shard %s, which is done again: %s",
            call.worker.name,
            call.shard.id,
            error,
        )
        self.crew.let_go(call.worker)

    def _count(self, report: ShardReport, worker: str) -> None:
        self.progress.committed(report, worker)
        self.metrics.committed(report)

    def _relay(self, worker: WorkerHandle, warnings: Iterable[str]) -> None:
        """Pass on what libraries warn of, each text once: every worker has the same libraries."""
        for text in warnings:
            if text not in self._warned:
                self._warned.add(text)
                self.progress.note(f"worker {worker.name} warns: {text}", worker=worker.name)

    def _check_visible(self, shard: str) -> None:
        """Find the first commit where the driver reads: machines of a cluster do not share a local disk."""
        if not self._has_seen_commit and not self.output.folder.exists(marker_name(shard)):
            raise CircuitSweepError(
                f"a worker committed to {self.output.url}, but here nothing arrived: on a cluster, output "
                "must be an s3:// URL or a folder that all machines mount."
            )
        self._has_seen_commit = True
