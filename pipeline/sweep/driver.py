"""The driver: a queue of shards, a replica for each place, and what to do when one dies.

Ray's own restarts are off, because what to do after a death depends on the shard: it is tried once more as a
whole; if that kills a worker too it is split, and split again, until the prompt that kills is alone. Alone it
gets two tries, then it is a row of `failures`. A shard of 32 with one such prompt costs about eight deaths.
Shards are made while workers work, a few ahead; the driver's own share is well under a millisecond a shard.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from pipeline.errors import CircuitSweepError
from pipeline.store import FailedPrompt, Output, failure_tables, join_tables
from pipeline.store.marker import marker_name
from pipeline.sweep.placement import Placement
from pipeline.sweep.progress import Progress
from pipeline.sweep.shards import Shard
from pipeline.sweep.worker import ShardReport, WorkerConfig, start_worker

DEATHS = 2
"""Deaths after which a shard is split, or a prompt alone is given up."""

ERRORS = 3
"""Failures to write a shard after which the sweep stops."""

LOAD_DEATHS = 5
"""Workers in a row that may die while loading."""

AHEAD = 2
"""Shards that are ready for each replica, so that none waits for the tokeniser."""

PATIENCE_SECONDS = 60.0
"""Wait for the first replica before the user is told what is waited for."""

LOOK_SECONDS = 10.0
"""Pause between two looks at the cluster for machines that came or went."""


@dataclass(eq=False)
class Replica:
    """One worker process, as the driver sees it."""

    actor: Any
    """Ray's handle."""

    shard: Shard | None = None
    """What it works on; None while it loads or idles."""

    loaded: bool = False


@dataclass
class Driver:
    """Runs shards on replicas until all are committed."""

    shards: Iterable[Shard]
    """What is to do, made on demand."""

    output: Output
    worker: WorkerConfig
    placement: Callable[[], Placement]
    """Replicas that the cluster has room for now."""

    progress: Progress
    queue: deque[Shard] = field(default_factory=deque)
    waiting: dict[ray.ObjectRef, Replica] = field(default_factory=dict)
    """Calls in flight, with the replica that each runs on."""

    idle: list[Replica] = field(default_factory=list)
    load_deaths: int = 0
    start_after: float = 0.0
    """Not before this time is the next replica started: after deaths the pause doubles."""

    seen_commit: bool = False
    """Whether a worker's commit was found where the driver reads."""

    def run(self) -> None:
        """Work until no shard is left.

        Raises:
            CircuitSweepError: the engine cannot be loaded, or the output cannot be written.

        """
        source = iter(self.shards)
        self._fill(source, 1)
        looked, wanted, began = 0.0, self.placement(), time.monotonic()
        try:
            while self.queue or any(replica.shard for replica in self.waiting.values()):
                if time.monotonic() - looked > LOOK_SECONDS:
                    looked, wanted = time.monotonic(), self.placement()
                    self._complain_of_waiting(wanted, looked - began)
                self._start(wanted)
                self._dispatch()
                more = self._fill(source, AHEAD * max(1, wanted.replicas))
                self._collect(timeout=0.0 if more else 1.0)
                self.progress.show()
        finally:
            for replica in [*self.waiting.values(), *self.idle]:
                ray.kill(replica.actor)

    def _fill(self, source: Iterator[Shard], wanted: int) -> bool:
        """Make one more shard if fewer than wanted are ready; tell whether one was made."""
        shard = next(source, None) if len(self.queue) < wanted else None
        if shard is not None:
            self.queue.append(shard)
        return shard is not None

    def _start(self, wanted: Placement) -> None:
        alive = len(self.waiting) + len(self.idle)
        busy = sum(replica.shard is not None for replica in self.waiting.values())
        if alive < min(wanted.replicas, len(self.queue) + busy) and time.monotonic() >= self.start_after:
            replica = Replica(start_worker(self.worker, wanted))
            self.waiting[replica.actor.load.remote()] = replica

    def _dispatch(self) -> None:
        while self.idle and self.queue:
            replica, shard = self.idle.pop(), self.queue.popleft()
            replica.shard = shard
            self.waiting[replica.actor.run.remote(shard)] = replica

    def _collect(self, timeout: float) -> None:
        """Take in what has finished, waiting for at most one call."""
        if not self.waiting:
            time.sleep(min(timeout, 0.1))
            return
        ready, _ = ray.wait(list(self.waiting), num_returns=1, timeout=timeout)
        for reference in ready:
            replica = self.waiting.pop(reference)
            try:
                result = ray.get(reference)
            except RayTaskError as error:
                self._raised(replica, error)
            except RayError as error:
                self._died(replica, error)
            else:
                self._finished(replica, result)

    def _finished(self, replica: Replica, report: ShardReport | None) -> None:
        if report is None:
            replica.loaded, self.load_deaths = True, 0
            self.progress.begin()
        else:
            self._check_visible(replica.shard)
            self.progress.add(report.graphs, report.failures)
        replica.shard = None
        self.idle.append(replica)

    def _raised(self, replica: Replica, error: RayTaskError) -> None:
        """Stop where going on is of no use; a write that failed may work the next time."""
        shard, replica.shard = replica.shard, None
        cause = error.cause if isinstance(error.cause, CircuitSweepError) else error
        if shard is None or shard.errors + 1 >= ERRORS:
            raise cause
        self.queue.append(replace(shard, errors=shard.errors + 1))
        self.idle.append(replica)

    def _died(self, replica: Replica, error: RayError) -> None:
        ray.kill(replica.actor)  # it may be alive behind a broken connection, and must not commit later
        reason = death_reason(error)
        if not replica.loaded:
            self._died_loading(reason)
        if replica.shard is not None:
            self.progress.note(f"a worker died, its {len(replica.shard)} prompts are tried again: {reason}")
            preempted = isinstance(error, ActorDiedError) and error.preempted
            self._retry(replace(replica.shard, deaths=replica.shard.deaths + (not preempted)), reason)

    def _died_loading(self, reason: str) -> None:
        self.load_deaths += 1
        if self.load_deaths >= LOAD_DEATHS:
            raise CircuitSweepError(
                f"{self.load_deaths} workers in a row died while loading the model, the last one so: "
                f"{reason} Most often the memory of the machine is too small: lower workers.replicas."
            )
        self.start_after = time.monotonic() + 2**self.load_deaths
        self.progress.note(f"a worker died while loading: {reason}")

    def _retry(self, shard: Shard, reason: str) -> None:
        if shard.deaths < DEATHS:
            self.queue.appendleft(shard)
        elif len(shard.prompts) > 1:
            self.queue.extendleft(reversed(shard.split()))
        else:
            self._quarantine(shard, reason)

    def _quarantine(self, shard: Shard, reason: str) -> None:
        """Commit the failure of a prompt that kills its worker, with what had been rejected beside it."""
        error = WorkerDied(
            f"the process died {shard.deaths} times while it traced this prompt alone: {reason}"
        )
        killers = [prompt.failed(shard.run_key, "worker", error, shard.deaths) for prompt in shard.prompts]
        failed: list[FailedPrompt] = [*killers, *shard.rejected]
        rows = join_tables([failure_tables(prompt, self.output.carried) for prompt in failed])
        self.output.commit(shard.id, rows, "driver")
        self.progress.add(0, len(failed))

    def _check_visible(self, shard: Shard) -> None:
        """Find the first commit where the driver reads: machines of a cluster do not share a local disk."""
        if not self.seen_commit and not self.output.folder.exists(marker_name(shard.id)):
            raise CircuitSweepError(
                f"a worker committed to {self.output.url}, but here nothing arrived: on a cluster, output "
                "must be an s3:// URL or a folder that all machines mount."
            )
        self.seen_commit = True

    def _complain_of_waiting(self, wanted: Placement, waited: float) -> None:
        replicas = [*self.waiting.values(), *self.idle]
        if waited > PATIENCE_SECONDS and not any(replica.loaded for replica in replicas):
            self.progress.note(
                f"no worker is ready after {waited:.0f} s: loading, or waiting for a machine with "
                f"{wanted.cores} free cores and {wanted.gpus:g} free GPUs"
            )


class WorkerDied(Exception):  # noqa: N818 - its name is what people read in `failures`
    """The process that traced a prompt died."""


def death_reason(error: RayError) -> str:
    """Return the sentence of Ray's long report that says why an actor died."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1].split(" Some common causes")[0] if lines else type(error).__name__
