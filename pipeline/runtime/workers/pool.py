"""The workers as the driver sees them: their actors, and the calls under way.

Here Ray is spoken to. Which worker holds what, and what a death or a report means for shards, is the
schedule's business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import ray
from ray.exceptions import ActorDiedError, RayError, RaySystemError, RayTaskError

from pipeline.errors import CircuitSweepError
from pipeline.runtime.shards import Shard
from pipeline.runtime.work import Work
from pipeline.runtime.workers.messages import Heartbeat, WorkerAddress
from pipeline.runtime.workers.placement import Placement
from pipeline.runtime.workers.worker import start_worker


@dataclass(eq=False)
class WorkerHandle:
    """One worker process."""

    actor: ray.actor.ActorHandle
    address: WorkerAddress | None = None
    """Its process; None while it waits for a machine."""

    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    """The last one that it gave."""

    asked: float | None = None
    """Time of the request for a heartbeat that it still owes, in seconds of `time.monotonic`."""

    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Time at which it was started, or got ready, UTC."""

    @property
    def name(self) -> str:
        """The worker's name in reports."""
        return "not placed yet" if self.address is None else self.address.name


@dataclass(frozen=True)
class PendingCall:
    """A call under way."""

    method: Literal["address", "load", "run", "heartbeat"]
    worker: WorkerHandle
    shard: Shard | None = None
    """The shard that is to be run."""

    deaths: int = 0
    """Deaths that had been noticed when a heartbeat was asked for."""


@dataclass
class WorkerPool:
    """All workers, and all calls under way."""

    work: Work
    url: str
    """The output, where workers commit."""

    item_seconds: float
    """Limit for one item."""

    workers: list[WorkerHandle] = field(default_factory=list)
    calls: dict[ray.ObjectRef, PendingCall] = field(default_factory=dict)

    def start(self, placement: Placement) -> WorkerHandle:
        """Start one more, which waits until a machine has room for it."""
        worker = WorkerHandle(start_worker(self.work, self.url, placement))
        self.workers.append(worker)
        # Two calls: the address comes as soon as there is a machine, long before all is loaded.
        self.calls[worker.actor.address.remote()] = PendingCall("address", worker)
        self.calls[worker.actor.load.remote()] = PendingCall("load", worker)
        return worker

    def send(self, worker: WorkerHandle, shard: Shard) -> None:
        """Give a worker a shard."""
        call = worker.actor.run.remote(shard, self.item_seconds)
        self.calls[call] = PendingCall("run", worker, shard)

    def ask_for_heartbeat(self, worker: WorkerHandle, deaths: int) -> None:
        """Ask a worker for a sign of life, unless it still owes one."""
        if worker.asked is None:
            worker.asked = time.monotonic()
            self.calls[worker.actor.heartbeat.remote()] = PendingCall("heartbeat", worker, deaths=deaths)

    def silent(self, patience: float) -> list[WorkerHandle]:
        """Return those that have owed a heartbeat for longer than `patience` seconds."""
        now = time.monotonic()
        return [one for one in self.workers if one.asked is not None and now - one.asked > patience]

    def collect(self, timeout: float) -> Iterator[tuple[PendingCall, Any]]:
        """Yield the calls that have ended, each with what it returned, or with the RayError that it raised.

        Waits for the first of them for at most `timeout` seconds.

        Raises:
            CircuitSweepError: an answer cannot be read here.

        """
        if not self.calls:
            time.sleep(min(timeout, 0.1))  # Ray refuses to wait for nothing
            return
        ready, _ = ray.wait(list(self.calls), num_returns=1, timeout=timeout)
        for reference in ready:
            call = self.calls.pop(reference)
            try:
                result = ray.get(reference)
            except RaySystemError as error:  # Ray could not unpickle it; no item is to blame for that
                raise CircuitSweepError(
                    f"driver and workers do not understand each other ({error}): they must run the same "
                    "version of Circuit Sweep, with the same version of Python."
                ) from error
            except RayError as error:
                result = error
            if call.method == "heartbeat":
                call.worker.asked = None
            yield call, result

    def ask_to_leave(self, worker: WorkerHandle) -> None:
        """Let a worker finish the item at hand and hand back the rest."""
        worker.actor.leave.remote()

    def remove(self, worker: WorkerHandle) -> None:
        """End a worker at once."""
        ray.kill(worker.actor)  # it may be alive behind a broken connection, and must not commit later
        self.workers.remove(worker)
        # An answer that is still on its way would be taken for that of a shard which others do by now.
        self.calls = {ref: call for ref, call in self.calls.items() if call.worker is not worker}

    def remove_all(self) -> None:
        """End all workers at once."""
        for worker in list(self.workers):
            self.remove(worker)


def is_death(result: Any) -> bool:
    """Tell whether a call ended because its process did."""
    return isinstance(result, RayError) and not isinstance(result, RayTaskError)


def raised_error(result: Any) -> Exception | None:
    """Return the error that a call raised, as the worker raised it if it is one of ours; else None."""
    if not isinstance(result, RayTaskError):
        return None
    return result.cause if isinstance(result.cause, CircuitSweepError) else result


def was_preempted(death: RayError) -> bool:
    """Tell whether a worker died because its machine was taken away."""
    return isinstance(death, ActorDiedError) and death.preempted


def never_began(death: RayError) -> bool:
    """Tell whether a worker's process could not even import the work, as no other one could."""
    return isinstance(death, ActorDiedError) and death.actor_init_failed


def death_reason(death: RayError) -> str:
    """Return the sentence of Ray's long report that says why an actor died."""
    lines = [line for line in str(death).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1].split(" Some common causes")[0] if lines else type(death).__name__
