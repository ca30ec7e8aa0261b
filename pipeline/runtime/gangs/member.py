"""One process of a gang: an actor that works on its unit in one thread and answers questions in others.

Ray never restarts it (`max_restarts=0`): the driver sees every death and decides.
"""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from pipeline.runtime.gangs.work import GangWork, Member, News
from pipeline.runtime.shards import StageError
from pipeline.runtime.workers import (
    KeptWarnings,
    Placement,
    WorkerAddress,
    own_address,
    own_resources,
    thread_environment,
)

THREADS = 3
"""Calls that a member takes at a time: its work, a question for news, and the order to stop."""

HERE = "127.0.0.1"
"""Where members meet: they share a machine, and nobody else has business there."""


@dataclass(frozen=True)
class MemberNews:
    """A member's sign of life."""

    news: News
    warnings: tuple[str, ...] = ()
    """Warnings that its libraries logged since it last told."""


@dataclass(frozen=True)
class Left:
    """The end of a member's work."""

    done: bool
    """False if it was asked to stop, and what it had is kept."""

    news: News


@dataclass(frozen=True)
class GivenUp:
    """A unit that nobody can go on with."""

    stage: str
    reason: str


class GangMember:
    """A process of a gang."""

    def __init__(self, work: GangWork, threads: int, rank: int, size: int) -> None:
        self.work = work
        self.warnings = KeptWarnings()
        listener = socket.create_server((HERE, 0)) if rank == 0 and size > 1 else None
        port = 0 if listener is None else listener.getsockname()[1]
        self.member = Member(own_resources(threads), rank, size, port, listener)
        # Ray makes an actor in its process's main thread, and its own handler would end the process at once.
        signal.signal(signal.SIGTERM, lambda *_: self.member.stop.set())
        self.warnings.listen()

    def address(self) -> tuple[WorkerAddress, int]:
        """Return the address of this process, and the port at which it waits for the others of its gang."""
        return own_address(), self.member.port

    def run(self, unit: str, port: int, mean_life: float | None) -> Left | GivenUp:
        """Go on with a unit, among those that meet at a port (see `GangWork.go_on`)."""
        self.member.port, self.member.mean_life = port, mean_life
        try:
            return Left(self.work.go_on(unit, self.member), self.member.news)
        except StageError as error:
            return GivenUp(error.stage, str(error.cause))

    def news(self) -> MemberNews:
        """Return how far it is, which shows that this process is not stuck."""
        return MemberNews(self.member.news, self.warnings.take())

    def stop(self) -> None:
        """Keep what there is, and end."""
        self.member.stop.set()


_Actor = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=THREADS)(GangMember)


def start_members(
    work: GangWork, size: int, placement: Placement
) -> tuple[list[ray.actor.ActorHandle], PlacementGroup | None]:
    """Start a gang's processes, where a machine has room for all of them; calls wait until one has."""
    room, group = {}, None
    if size > 1:
        bundle = {"CPU": float(placement.cores)} | ({"GPU": placement.gpus} if placement.gpus else {})
        group = ray.util.placement_group([bundle] * size, strategy="STRICT_PACK")
        room = {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    actor = _Actor.options(
        num_cpus=placement.cores,
        num_gpus=placement.gpus,
        runtime_env={"env_vars": thread_environment(placement.cores)},
        **room,
    )
    return [actor.remote(work, placement.cores, rank, size) for rank in range(size)], group


def end_members(actors: list[ray.actor.ActorHandle], group: PlacementGroup | None) -> None:
    """End a gang's processes at once, and give its room back."""
    for actor in actors:
        ray.kill(actor)  # it may be alive behind a broken connection, and must not write later
    if group is not None:
        ray.util.remove_placement_group(group)
