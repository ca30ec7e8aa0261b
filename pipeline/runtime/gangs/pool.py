"""The gangs as the driver sees them: their actors, the calls under way, and how each gang ended.

Here Ray is spoken to. A gang ends as a whole: with its first member that dies or raises all others are ended
too, since those that wait for it at the next step would wait in vain.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup

from pipeline.errors import CircuitSweepError
from pipeline.runtime.gangs.member import GivenUp, MemberNews, end_members, start_members
from pipeline.runtime.gangs.work import GangWork, News, Unit
from pipeline.runtime.shards import StageError
from pipeline.runtime.workers import (
    Placement,
    WorkerAddress,
    death_reason,
    is_death,
    never_began,
    was_preempted,
)

SILENCE_SECONDS = 300.0
"""Silence after which a member counts as dead: its answers come from a thread of their own."""

CAUSE_SECONDS = 3.0
"""Time to learn of a death after a member's error: connections to one that died break before Ray tells."""


@dataclass(eq=False)
class Gang:
    """One gang, started."""

    unit: Unit
    actors: list[ray.actor.ActorHandle]
    room: PlacementGroup | None
    addresses: dict[int, WorkerAddress] = field(default_factory=dict)
    """Processes by rank, as they find a machine."""

    port: int = 0
    news: News = field(default_factory=News)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: dict[int, float] = field(default_factory=dict)
    """Of each rank that owes an answer, when it was asked, in seconds of `time.monotonic`."""

    done: dict[int, bool] = field(default_factory=dict)
    """What each rank's work returned."""

    is_leaving: bool = False
    mean_life: float | None = None
    """See `Member.mean_life`."""

    @property
    def is_working(self) -> bool:
        """True if all members have a machine."""
        return len(self.addresses) == self.unit.members

    @property
    def name(self) -> str:
        """Its members' addresses."""
        return ", ".join(one.name for _, one in sorted(self.addresses.items())) or "not placed yet"


@dataclass(frozen=True)
class Ended:
    """The end of a gang."""

    gang: Gang
    outcome: Literal["finished", "stopped", "died", "raised"]
    error: Exception | None = None
    reason: str = ""
    at_fault: bool = True
    """False for a death that the unit cannot have caused."""


@dataclass(frozen=True)
class _Call:
    gang: Gang
    rank: int
    method: Literal["address", "run", "news"]


@dataclass
class GangPool:
    """All gangs, and all calls under way."""

    work: GangWork
    gangs: list[Gang] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """What libraries warned of, with the process's name; taken by the driver."""

    _calls: dict[ray.ObjectRef, _Call] = field(default_factory=dict)

    def start(self, unit: Unit, placement: Placement, mean_life: float | None = None) -> Gang:
        """Start a gang, which waits until a machine has room for it."""
        gang = Gang(unit, *start_members(self.work, unit.members, placement), mean_life=mean_life)
        self.gangs.append(gang)
        for rank, actor in enumerate(gang.actors):
            self._calls[actor.address.remote()] = _Call(gang, rank, "address")
        return gang

    def ask_for_news(self) -> None:
        """Ask all members that work for a sign of life, unless they still owe one."""
        for gang in self.gangs:
            for rank in gang.addresses:
                if rank not in gang.asked:
                    gang.asked[rank] = time.monotonic()
                    self._calls[gang.actors[rank].news.remote()] = _Call(gang, rank, "news")

    def ask_to_stop(self, gang: Gang) -> None:
        """Let a gang keep what it has, and end."""
        if not gang.is_leaving:
            gang.is_leaving = True
            for actor in gang.actors:
                actor.stop.remote()

    def end(self, gang: Gang) -> None:
        """End a gang at once."""
        end_members(gang.actors, gang.room)
        self.gangs.remove(gang)
        self._calls = {ref: call for ref, call in self._calls.items() if call.gang is not gang}

    def end_all(self) -> None:
        """End all gangs at once."""
        for gang in list(self.gangs):
            self.end(gang)

    def collect(self, timeout: float) -> Iterator[Ended]:
        """Take in the calls that have ended, waiting for one for at most `timeout` seconds; yield gangs that
        ended.

        Raises:
            CircuitSweepError: a process could not even begin.

        """
        if not self._calls:
            time.sleep(min(timeout, 0.1))
        else:
            ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=timeout)
            for reference in ready:
                if (ended := self._take(self._calls.pop(reference), _result(reference))) is not None:
                    self.end(ended.gang)
                    yield ended
        for gang in self._silent():
            self.end(gang)
            yield Ended(gang, "died", reason=f"it gave no sign of life for {SILENCE_SECONDS:.0f} s.")

    def _silent(self) -> list[Gang]:
        now = time.monotonic()
        return [one for one in self.gangs if any(now - at > SILENCE_SECONDS for at in one.asked.values())]

    def _take(self, call: _Call, result: Any) -> Ended | None:
        gang = call.gang
        if is_death(result):
            if never_began(result):
                raise CircuitSweepError(f"a worker could not be started: {death_reason(result)}")
            return Ended(
                gang,
                "died",
                reason=death_reason(result),
                at_fault=not (was_preempted(result) or gang.is_leaving),
            )
        if isinstance(result, RayError):
            return self._raised(gang, _as_raised(result))
        match call.method:
            case "address":
                self._placed(gang, call.rank, *result)
            case "news":
                gang.asked.pop(call.rank, None)
                self._heard(gang, call.rank, result)
            case "run" if isinstance(result, GivenUp):
                return Ended(gang, "raised", error=StageError(result.stage, RuntimeError(result.reason)))
            case "run":
                gang.done[call.rank] = result.done
                gang.news = result.news if call.rank == 0 else gang.news
                if len(gang.done) == gang.unit.members:
                    return Ended(gang, "finished" if all(gang.done.values()) else "stopped")
        return None

    def _placed(self, gang: Gang, rank: int, address: WorkerAddress, port: int) -> None:
        gang.addresses[rank] = address
        gang.port = gang.port or port
        if gang.is_working:
            gang.since = datetime.now(UTC)
            for member, actor in enumerate(gang.actors):
                run = actor.run.remote(gang.unit.name, gang.port, gang.mean_life)
                self._calls[run] = _Call(gang, member, "run")

    def _heard(self, gang: Gang, rank: int, heard: MemberNews) -> None:
        if rank == 0:
            gang.news = heard.news
        self.warnings += [(gang.addresses[rank].name, text) for text in heard.warnings]

    def _raised(self, gang: Gang, error: Exception) -> Ended:
        """Tell a member that failed from one that lost another: its connections broke."""
        until = time.monotonic() + (CAUSE_SECONDS if gang.unit.members > 1 else 0.0)
        runs = [ref for ref, call in self._calls.items() if call.gang is gang and call.method == "run"]
        while runs and time.monotonic() < until:
            ready, runs = ray.wait(runs, num_returns=1, timeout=until - time.monotonic())
            for result in map(_result, ready):
                if is_death(result):
                    return Ended(
                        gang, "died", reason=death_reason(result), at_fault=not was_preempted(result)
                    )
                if isinstance(result, RayError) and isinstance(_as_raised(result), CircuitSweepError):
                    error = _as_raised(result)
        return Ended(gang, "raised", error=error)


def _result(reference: ray.ObjectRef) -> Any:
    try:
        return ray.get(reference, timeout=60)
    except (RayError, GetTimeoutError) as error:
        return error


def _as_raised(error: RayError) -> Exception:
    """The error as the work raised it."""
    is_known = isinstance(error, RayTaskError) and isinstance(error.cause, Exception)
    return error.cause if is_known else error
