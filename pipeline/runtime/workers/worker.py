"""One worker: a process that owns its GPU or its share of the cores, and does shard after shard.

Ray gives it a few threads. One works on items, always the same one, so that torch has its threads once; the
call that brought a shard writes and commits it while the next shard is being worked on. The driver
therefore keeps two shards with each worker. An item that raises is a row of `failures`; so is one that takes
longer than its limit, after which the process is of no more use, since a thread cannot be ended from outside.
Told to leave (by the driver, or by SIGTERM, as a machine that goes away sends it), a worker finishes the item
at hand, commits what it has as a shard of its own and says what is left.

Ray never restarts it (`max_restarts=0`): the driver sees every death and decides.
"""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import ray

from pipeline.runtime.shards import SHARDS_HELD, Shard, StageError
from pipeline.runtime.work import Rows, Work, WorkerResources, output_of
from pipeline.runtime.workers.garbage_collector import collector_resting
from pipeline.runtime.workers.kept_warnings import KeptWarnings
from pipeline.runtime.workers.messages import Heartbeat, ShardReport, WorkerAddress
from pipeline.runtime.workers.own_process import own_address, own_resources, thread_environment
from pipeline.runtime.workers.placement import Placement
from pipeline.seconds import NO_SECONDS, Seconds
from pipeline.store.rows import FailedPrompt, failure_tables, join_tables

THREADS = SHARDS_HELD + 2
"""Calls that a worker takes at a time: its shards, a sign of life, and the order to leave."""


class PromptTimeout(Exception):  # noqa: N818 - its name is what people read in `failures`
    """An item took longer than its limit."""


@dataclass
class RunningShard:
    """A shard at work, shared by the thread that works on it and the one that watches."""

    shard: Shard
    rows: list[Rows] = field(default_factory=list)
    failures: list[FailedPrompt] = field(default_factory=list)
    done: int = 0
    """Items dealt with, from the first on."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    """Time at which the work on it ended, before it is written, UTC."""

    _since: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: Rows | FailedPrompt) -> None:
        """Take in the outcome of the item at hand, unless it was given up meanwhile."""
        with self._lock:
            if self.ended is not None:
                return
            if isinstance(outcome, FailedPrompt):
                self.failures.append(outcome)
            else:
                self.rows.append(outcome)
            self.done += 1
            self._since = time.monotonic()

    def left(self, limit: float) -> float:
        """Seconds until the item at hand has taken too long."""
        return self._since + limit - time.monotonic()

    def close(self) -> None:
        """Take in nothing more: what is there is what will be written."""
        with self._lock:
            self.ended = datetime.now(UTC)

    def give_up(self, limit: float) -> bool:
        """Fail the item at hand and close; False if it ended at the last moment."""
        with self._lock:
            if self.left(limit) > 0 or self.done == len(self.shard.items):
                return False
            self.ended = datetime.now(UTC)
            error = PromptTimeout(
                f"it took longer than {limit:g} s, the limit for one prompt. If it only needs more time, "
                "raise workers.prompt_seconds and sweep it into another output: here it counts as failed."
            )
            item = self.shard.items[self.done]
            self.failures.append(item.failed(self.shard.run_key, "worker", error, self.shard.deaths + 1))
            self.done += 1
            return True


class Worker:
    """A process that loads once, then does, writes and commits shards."""

    def __init__(self, work: Work, url: str, threads: int) -> None:
        self.work = work
        self.threads = threads
        self.output = output_of(work, url)
        self.told_to_leave = threading.Event()
        self.warnings = KeptWarnings()
        self._doer = ThreadPoolExecutor(1, "work")
        self._turn = threading.Lock()
        self._running: RunningShard | None = None
        # Ray makes an actor in its process's main thread, and its own handler would end the process at once.
        signal.signal(signal.SIGTERM, lambda *_: self.told_to_leave.set())
        self.warnings.listen()

    def resources(self) -> WorkerResources:
        """Return what Ray gave this process."""
        return own_resources(self.threads)

    def address(self) -> WorkerAddress:
        """Return the address of this process."""
        return own_address()

    def load(self) -> Heartbeat:
        """Load what the work needs.

        Raises:
            CircuitSweepError: it cannot be loaded, or its parts do not fit each other.

        """
        with collector_resting():
            self._doer.submit(self.work.load, self.resources(), self.output).result()
        return self.heartbeat()

    def run(self, shard: Shard, item_seconds: float) -> ShardReport:
        """Do, write and commit a shard, or as much of it as there is time for.

        Raises:
            StoreError: it could not be written.

        """
        with self._turn:  # left before the shard is written: the next one is worked on meanwhile
            if self.told_to_leave.is_set():  # maybe because the thread that works is stuck
                return ShardReport(0, leaving=True)
            self._running = running = RunningShard(shard)
            try:
                self._watch(self._doer.submit(self._do, running), running, item_seconds)
            finally:
                self._running = None
        if shard.items and not running.done:  # nothing to commit: the driver takes it back whole
            return ShardReport(0, leaving=True)
        return self._commit(running)

    def heartbeat(self) -> Heartbeat:
        """Return what is at hand, which shows that this process is not stuck."""
        running, warnings = self._running, self.warnings.take()
        if running is None:
            return Heartbeat(warnings=warnings)
        shard = running.shard
        return Heartbeat(shard.id, len(shard.items), running.done, running.began, warnings)

    def leave(self) -> None:
        """Finish the item at hand, and begin no other."""
        self.told_to_leave.set()

    def _watch(self, job: Future[None], running: RunningShard, limit: float) -> None:
        """Wait until a shard is done, or an item of it has taken too long."""
        while not wait([job], max(0.0, running.left(limit))).done:
            if running.give_up(limit):
                self.told_to_leave.set()  # the thread that works will not come back
                return
        running.close()
        job.result()

    def _do(self, running: RunningShard) -> None:
        shard = running.shard
        for item in shard.items:
            if self.told_to_leave.is_set():
                return
            started = time.perf_counter()
            try:
                outcome = self.work.do(item)
            except StageError as error:
                outcome = item.failed(shard.run_key, error.stage, error.cause, shard.deaths + 1)
            except Exception as error:  # a fault of the work's own code: it is no reason to stop the others
                outcome = item.failed(shard.run_key, "worker", error, shard.deaths + 1)
            else:
                if not outcome.seconds.total:
                    outcome = replace(outcome, seconds=Seconds(work=time.perf_counter() - started))
            running.add(outcome)

    def _commit(self, running: RunningShard) -> ShardReport:
        shard = running.shard.until(running.done)
        failed = (*running.failures, *shard.rejected)
        rows = [one.tables for one in running.rows]
        rows += [failure_tables(one, self.output.extra_columns) for one in failed]
        marker = self.output.commit(
            shard.id,
            join_tables(rows),
            seconds=sum((one.seconds for one in running.rows), NO_SECONDS),
            worker=self.address().name,
            began=running.began,
            ended=running.ended,
            item_keys=shard.keys,
        )
        report = ShardReport(
            done=running.done,
            shard=shard.id,
            with_rows=len(running.rows),
            failed=failed,
            leaving=self.told_to_leave.is_set(),
            warnings=self.warnings.take(),
        )
        if marker is None:  # another attempt won
            return report
        return replace(
            report,
            done_keys=marker.prompt_keys,
            rows=marker.rows,
            bytes=marker.bytes,
            seconds=marker.seconds,
        )


_Actor = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=THREADS)(Worker)


def start_worker(work: Work, url: str, placement: Placement) -> ray.actor.ActorHandle:
    """Start a worker where the cluster has room for it; calls wait until it has."""
    return _Actor.options(
        num_cpus=placement.cores,
        num_gpus=placement.gpus,
        # Said to the libraries before they are imported: a pool that is already there cannot shrink.
        runtime_env={"env_vars": thread_environment(placement.cores)},
    ).remote(work, url, placement.cores)
