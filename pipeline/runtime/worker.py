"""One replica: a process that owns its GPU or its share of the cores, and does shard after shard.

Ray gives it a few threads. One traces, always the same one, so that torch has its threads once; the call that
brought a shard writes and commits it while the next shard is being traced. The driver therefore keeps two
shards with each worker. A prompt that raises is a row of `failures`; so is one that takes longer than its
limit, after which the process is of no more use, since a thread cannot be ended from outside. Told to leave
(by the driver, or by SIGTERM, as a machine that goes away sends it), a worker finishes the prompt at hand,
commits what it has as a shard of its own and says what is left.

Ray never restarts it (`max_restarts=0`): the driver sees every death and decides.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import pyarrow as pa
import ray

from pipeline.importing import collector_resting
from pipeline.runtime.messages import Place, ShardReport, Sign
from pipeline.runtime.placement import Placement
from pipeline.runtime.serialization import packed, unpacked
from pipeline.runtime.shard import Shard
from pipeline.runtime.stage import StageError
from pipeline.store import Output
from pipeline.store.rows import FailedPrompt, failure_tables, join_tables

Tables = dict[str, pa.Table]

SHARDS_HELD = 2
"""Shards that a worker has at a time: one that is traced, one that is written."""

THREADS = SHARDS_HELD + 2
"""Calls that a worker takes at a time: its shards, a sign of life, and the order to leave."""


class WorkerConfig(Protocol):
    """What a worker needs to know; it travels to the worker's process."""

    @property
    def kind(self) -> type[Worker]:
        """The class that does the work."""


class PromptTimeout(Exception):  # noqa: N818 - its name is what people read in `failures`
    """A prompt took longer than its limit."""


@dataclass
class Batch:
    """A shard at work, shared by the thread that traces it and the one that watches."""

    shard: Shard
    tables: list[Tables] = field(default_factory=list)
    failures: list[FailedPrompt] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)
    done: int = 0
    """Prompts dealt with, from the first on."""

    began: float = field(default_factory=time.time)
    traced: float = 0.0
    """When its tracing ended, in seconds since 1970."""

    _since: float = field(default_factory=time.monotonic)
    _open: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: Tables | FailedPrompt) -> None:
        """Take in the outcome of the prompt at hand, unless it was given up meanwhile."""
        with self._lock:
            if not self._open:
                return
            if isinstance(outcome, FailedPrompt):
                self.failures.append(outcome)
            else:
                self.tables.append(outcome)
            self.done += 1
            self._since = time.monotonic()

    def left(self, limit: float) -> float:
        """Seconds until the prompt at hand has taken too long."""
        return self._since + limit - time.monotonic()

    def close(self) -> None:
        """Let nothing more in: what there is is what will be written."""
        with self._lock:
            self._open = False
            self.traced = time.time()

    def give_up(self, limit: float) -> bool:
        """Fail the prompt at hand and close; False if it ended at the last moment."""
        with self._lock:
            if self.left(limit) > 0 or self.done == len(self.shard.prompts):
                return False
            self._open = False
            self.traced = time.time()
            prompt = self.shard.prompts[self.done]
            error = PromptTimeout(
                f"it took longer than {limit:g} s, the limit for one prompt. If it only needs more time, "
                "raise workers.prompt_seconds and sweep it into another output: here it counts as failed."
            )
            self.failures.append(prompt.failed(self.shard.run_key, "worker", error, self.shard.deaths + 1))
            self.done += 1
            return True


class Worker(ABC):
    """Loads once, then traces, writes and commits shards."""

    output: Output
    """Where to commit; set by `_load`."""

    def __init__(self, config: Any, threads: int) -> None:
        self.config = config
        self.threads = threads
        self.leaving = threading.Event()
        self._tracer = ThreadPoolExecutor(1, "tracer")
        self._turn = threading.Lock()
        self._batch: Batch | None = None
        # Ray makes an actor in its process's main thread, and its own handler would end the process at once.
        signal.signal(signal.SIGTERM, lambda *_: self.leaving.set())

    @abstractmethod
    def _load(self) -> None:
        """Load what prompts are traced with, and open the output."""

    @abstractmethod
    def _trace(self, prompt: Any, run_key: int, seconds: Counter[str]) -> Tables:
        """Return a prompt's rows, adding what they took by phase; StageError if there are none."""

    def devices(self) -> tuple[str, ...]:
        """Names of the GPUs that Ray gave this process, over which a model is laid out; else the CPU."""
        return tuple(f"cuda:{index}" for index in range(len(ray.get_gpu_ids()))) or ("cpu",)

    def device_share(self) -> float:
        """Share of a GPU that this process was given; 1 where it has whole ones, or none."""
        return min(1.0, ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0))

    def place(self) -> Place:
        """Say where this process is."""
        node_id = ray.get_runtime_context().get_node_id()
        return Place(ray.util.get_node_ip_address(), node_id, os.getpid())

    def load(self) -> None:
        """Load model and transcoders.

        Raises:
            CircuitSweepError: they cannot be loaded or do not fit each other.

        """
        with collector_resting():
            self._tracer.submit(self._load).result()

    def run(self, shard: Shard, prompt_seconds: float) -> ShardReport:
        """Trace, write and commit a shard, or as much of it as there is time for.

        Raises:
            StoreError: it could not be written.

        """
        with self._turn:
            if self.leaving.is_set():  # maybe because the thread that traces is stuck
                return ShardReport(0, leaving=True)
            self._batch = batch = Batch(shard)
            try:
                self._watch(self._tracer.submit(self._trace_batch, batch), batch, prompt_seconds)
            finally:
                self._batch = None
        if shard.prompts and not batch.done:
            return ShardReport(0, leaving=True)
        return self._commit(batch)

    def run_packed(self, sent: bytes) -> bytes:
        """Do the same with arguments and report as they travel, see `wire`."""
        return packed(self.run(*unpacked(sent)))

    def sign(self) -> Sign:
        """Say what is at hand, which shows that this process is not stuck."""
        batch = self._batch
        if batch is None:
            return Sign(None)
        began = datetime.fromtimestamp(batch.began, UTC)
        return Sign(batch.shard.id, len(batch.shard.prompts), batch.done, began)

    def leave(self) -> None:
        """Finish the prompt at hand, and begin no other."""
        self.leaving.set()

    def _watch(self, job: Future[None], batch: Batch, limit: float) -> None:
        """Wait until a shard is traced, or a prompt of it has taken too long."""
        while not wait([job], max(0.0, batch.left(limit))).done:
            if batch.give_up(limit):
                self.leaving.set()  # the thread that traces will not come back
                return
        batch.close()
        job.result()

    def _trace_batch(self, batch: Batch) -> None:
        for prompt in batch.shard.prompts:
            if self.leaving.is_set():
                return
            try:
                outcome = self._trace(prompt, batch.shard.run_key, batch.seconds)
            except StageError as error:
                attempts = batch.shard.deaths + 1
                outcome = prompt.failed(batch.shard.run_key, error.stage, error.cause, attempts)
            batch.add(outcome)

    def _commit(self, batch: Batch) -> ShardReport:
        shard = batch.shard.until(batch.done)
        failed = (*batch.failures, *shard.rejected)
        rows = join_tables([*batch.tables, *(failure_tables(one, self.output.carried) for one in failed)])
        info = {"worker": self.place().name, "began": batch.began, "traced": batch.traced}
        marker = self.output.commit(shard.id, rows, f"{shard.deaths}{shard.errors}", batch.seconds, info)
        return ShardReport(
            done=batch.done,
            graphs=len(batch.tables),
            shard=shard.id,
            prompt_keys=marker.prompt_keys if marker else (),
            failed=failed,
            rows=marker.rows if marker else {},
            bytes=marker.bytes if marker else {},
            seconds=dict(marker.seconds if marker else batch.seconds),
            leaving=self.leaving.is_set(),
        )


def thread_environment(cores: int) -> dict[str, str]:
    """Return the variables that give a process its threads, which sleep while they wait (see `jobs.cli`)."""
    return {
        "OMP_NUM_THREADS": str(cores),
        "MKL_NUM_THREADS": str(cores),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
    }


def start_worker(config: WorkerConfig, placement: Placement) -> ray.actor.ActorHandle:
    """Start a worker where the cluster has room for it; calls wait until it has."""
    environment = thread_environment(placement.cores)
    return (
        _actor_class(config.kind)
        .options(
            num_cpus=placement.cores,
            num_gpus=placement.gpus,
            # Said to the libraries before they are imported: a pool that is already there cannot shrink.
            runtime_env={"env_vars": environment},
        )
        .remote(config, placement.cores)
    )


@cache
def _actor_class(kind: type[Worker]) -> Any:
    # Ray takes a class apart each time that it is made an actor's: a tenth of a second.
    return ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=THREADS)(kind)
