"""The replicas as the driver sees them: where they are, what they hold, and the calls under way.

Here Ray is spoken to; what a death or a report means for the shards is the driver's business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.runtime.messages import Place, Sign
from pipeline.runtime.placement import Placement
from pipeline.runtime.serialization import packed, unpacked
from pipeline.runtime.shard import Shard
from pipeline.runtime.telemetry import State, WorkerStanding
from pipeline.runtime.worker import SHARDS_HELD, WorkerConfig, start_worker

Asked = Literal["place", "load", "run", "sign"]


@dataclass(eq=False)
class Replica:
    """One worker process."""

    actor: ray.actor.ActorHandle
    place: Place | None = None
    """Where it is; None while it waits for a machine."""

    loaded: bool = False
    leaving: bool = False
    """Whether it gets no more shards."""

    shards: list[Shard] = field(default_factory=list)
    """What it holds: first what is written, then what is traced."""

    last_sign: Sign = field(default_factory=lambda: Sign(None))
    asked: float | None = None
    """When it was asked for a sign of life that it has not given yet."""

    heard: float = 0.0
    """When it was asked for the last sign that it gave: then, at least, it was alive."""

    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was started, or got ready."""

    @property
    def room(self) -> int:
        """Shards that it can be given."""
        if len(self.shards) == SHARDS_HELD:  # first, as most are full and all are asked after every shard
            return 0
        if not self.loaded or self.leaving or any(shard.suspect for shard in self.shards):
            return 0
        return SHARDS_HELD - len(self.shards)

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "not placed yet" if self.place is None else self.place.name

    @property
    def state(self) -> State:
        """What it is about, in a word."""
        if self.leaving:
            return "leaving"
        if not self.loaded:
            return "waiting" if self.place is None else "loading"
        return "working" if self.shards else "idle"

    def standing(self) -> WorkerStanding:
        """Say what it is about, by its last sign of life."""
        sign = self.last_sign if self.shards else Sign(None)
        return WorkerStanding(
            name=self.place and self.place.name,
            node=self.place and self.place.node,
            pid=self.place and self.place.pid,
            state=self.state,
            shard=sign.shard,
            prompts=sign.prompts,
            prompts_done=sign.done,
            since=sign.since or self.since,
        )


@dataclass(frozen=True)
class Call:
    """A call under way."""

    asked: Asked
    replica: Replica
    shard: Shard | None = None
    """What is to be run."""


@dataclass
class Fleet:
    """All replicas, and all calls under way."""

    worker: WorkerConfig
    prompt_seconds: float
    """Limit for one prompt."""

    replicas: list[Replica] = field(default_factory=list)
    calls: dict[ray.ObjectRef, Call] = field(default_factory=dict)

    @property
    def staying(self) -> list[Replica]:
        """Replicas that are not about to leave."""
        return [replica for replica in self.replicas if not replica.leaving]

    @property
    def held(self) -> int:
        """Shards with replicas."""
        return sum(len(replica.shards) for replica in self.replicas)

    def start(self, placement: Placement) -> None:
        """Start one more, which waits until a machine has room for it."""
        replica = Replica(start_worker(self.worker, placement))
        self.replicas.append(replica)
        self.calls[replica.actor.place.remote()] = Call("place", replica)
        self.calls[replica.actor.load.remote()] = Call("load", replica)

    def send(self, replica: Replica, shard: Shard) -> None:
        """Give a replica a shard."""
        replica.shards.append(shard)
        sent = packed((shard, self.prompt_seconds))
        self.calls[replica.actor.run_packed.remote(sent)] = Call("run", replica, shard)

    def ask_for_signs(self) -> None:
        """Ask whoever is at work whether it still moves."""
        for replica in self.replicas:
            if replica.loaded and replica.shards:
                self.ask_for_sign(replica)

    def ask_for_sign(self, replica: Replica) -> None:
        """Ask a replica whether it still moves, unless it owes the answer to that."""
        if replica.asked is None:
            replica.asked = time.monotonic()
            self.calls[replica.actor.sign.remote()] = Call("sign", replica)

    def silent(self, patience: float) -> list[Replica]:
        """Return those that have owed a sign of life for longer than `patience`."""
        now = time.monotonic()
        return [r for r in self.replicas if r.asked is not None and now - r.asked > patience]

    def collect(self, timeout: float) -> Iterator[tuple[Call, Any]]:
        """Yield the calls that have ended, each with what it returned, or with the RayError that it raised.

        Waits for the first of them for at most `timeout` seconds.

        Raises:
            CircuitSweepError: a report cannot be read here.

        """
        if not self.calls:
            time.sleep(min(timeout, 0.1))
            return
        ready, _ = ray.wait(list(self.calls), num_returns=1, timeout=timeout)
        for reference in ready:
            call = self.calls.pop(reference)
            try:
                result = ray.get(reference)
            except RayError as error:
                result = error
            if call.asked == "sign":
                call.replica.heard = call.replica.asked or 0.0
                call.replica.asked = None
            if call.shard is not None and not is_death(result):
                call.replica.shards.remove(call.shard)
                result = unpacked(result) if isinstance(result, bytes) else result
            yield call, result

    def ask_to_leave(self, replica: Replica) -> None:
        """Let a replica finish the prompt at hand and hand back the rest; one that has nothing goes now."""
        replica.leaving = True
        if replica.shards:
            replica.actor.leave.remote()
        else:
            self.remove(replica)

    def remove(self, replica: Replica) -> list[Shard]:
        """End a replica at once and return what it held."""
        ray.kill(replica.actor)  # it may be alive behind a broken connection, and must not commit later
        self.replicas.remove(replica)
        self.calls = {ref: call for ref, call in self.calls.items() if call.replica is not replica}
        return replica.shards

    def remove_all(self) -> None:
        """End all replicas at once."""
        for replica in list(self.replicas):
            self.remove(replica)


def is_death(result: Any) -> bool:
    """Tell whether a call ended because its process did."""
    return isinstance(result, RayError) and not isinstance(result, RayTaskError)
