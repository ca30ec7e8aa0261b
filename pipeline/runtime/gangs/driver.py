"""The driver of long work: a loop that keeps gangs at work while units wait, and tells how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import fmean
from threading import Event

from pipeline.errors import ConfigurationError
from pipeline.runtime.gangs.news import GangMetrics, GangProgress, announce
from pipeline.runtime.gangs.pool import Ended, Gang, GangPool
from pipeline.runtime.gangs.schedule import GangSchedule
from pipeline.runtime.gangs.work import Unit
from pipeline.runtime.signals import first_signal_asks, signals_ignored
from pipeline.runtime.workers import Placement, draining
from pipeline.store.commits import Lease

LOOK_SECONDS = 2.0
"""Pause between two looks at the cluster and at how far the gangs are."""

STOP_SECONDS = 300.0
"""Time that gangs get to keep what they have after the first signal; a second one ends them at once."""

PATIENCE_SECONDS = 60.0
"""Wait for a machine before the user is told, for the first time, what is waited for."""


@dataclass
class GangDriver:
    """The loop that has gangs go on with units until none is left."""

    schedule: GangSchedule
    pool: GangPool
    find_placement: Callable[[], Placement]
    """Count the processes that the cluster has room for now."""

    saved: Callable[[str], int]
    """Read the step of a unit's last complete checkpoint."""

    progress: GangProgress
    lease: Lease
    metrics: GangMetrics

    _wanted: Placement = field(default_factory=lambda: Placement(0, 1, 0))
    _next_look: float = float("-inf")
    _not_before: dict[str, float] = field(default_factory=dict)
    """Of units that died, when they may be tried again, in seconds of `time.monotonic`."""

    _lives: dict[str, list[float]] = field(default_factory=dict)
    """Of units that died, the seconds that each of their gangs worked."""

    _waiting_since: float = field(default_factory=time.monotonic)
    _patience: float = PATIENCE_SECONDS
    _warned: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Work until no unit is left; the schedule then has what became of each.

        Raises:
            CircuitSweepError: nobody can do the work, or the output cannot be written.
            KeyboardInterrupt: a signal asked for the end; gangs have kept what they had.

        """
        state = "failed"
        with first_signal_asks() as asked:
            try:
                self._work(asked)
                state = "interrupted" if asked.is_set() else "finished"
            except KeyboardInterrupt:
                state = "interrupted"
                raise
            finally:
                with signals_ignored():
                    self.pool.end_all()
                    announce(self.lease, state, self.schedule, self.pool, self.progress)
        if asked.is_set():
            raise KeyboardInterrupt

    def _work(self, asked: Event) -> None:
        while (self.schedule.has_work or self.pool.gangs) and not asked.is_set():
            if time.monotonic() >= self._next_look:
                self._look()
            self._start()
            for ended in self.pool.collect(0.5):
                self._take(ended)
            self.progress.show(self.pool, self.schedule)
        if asked.is_set():
            self._wind_up()

    def _start(self) -> None:
        room = self._wanted.replicas - sum(gang.unit.members for gang in self.pool.gangs)
        resting = [unit for unit in self.schedule.waiting if self._rests(unit)]
        while (unit := self.schedule.next(room, resting)) is not None:
            lives = self._lives.get(unit.name)
            self.pool.start(unit, self._wanted, fmean(lives) if lives else None)
            room -= unit.members

    def _rests(self, unit: Unit) -> bool:
        return time.monotonic() < self._not_before.get(unit.name, 0.0)

    def _take(self, ended: Ended) -> None:
        unit = ended.gang.unit
        match ended.outcome:
            case "finished":
                self.schedule.finished(unit)
                self.progress.finished(unit.name, ended.gang.news)
            case "stopped":
                self.schedule.stopped(unit)
                self.progress.note(f"{unit.name} was kept at step {self.saved(unit.name):,}", unit=unit.name)
            case "died":
                self.metrics.died()
                if ended.gang.is_working:
                    life = datetime.now(UTC) - ended.gang.since
                    self._lives.setdefault(unit.name, []).append(life.total_seconds())
                saved = self.saved(unit.name)
                self.schedule.died(unit, saved, ended.reason, at_fault=ended.at_fault)
                self.progress.note(f"{unit.name} goes on from step {saved:,}: {ended.reason}", unit=unit.name)
                self._rest(unit)
            case "raised":
                self._raised(ended.gang, ended.error)

    def _raised(self, gang: Gang, error: Exception) -> None:
        unit, saved = gang.unit, self.saved(gang.unit.name)
        self.schedule.raised(unit, saved, error)
        again = "tried again" if unit.name not in self.schedule.failed else "given up"
        self.progress.note(f"{unit.name} is {again}, kept at step {saved:,}: {error}", unit=unit.name)
        self._rest(unit)

    def _rest(self, unit: Unit) -> None:
        """Wait twice as long with each try that brought nothing: memory, or a store, may get free."""
        if tries := self.schedule.tries(unit):
            self._not_before[unit.name] = time.monotonic() + 2.0 ** (tries - 1) - 1.0

    def _look(self) -> None:
        self._next_look = time.monotonic() + LOOK_SECONDS
        self.lease.check()  # first: a driver that lost its output must start nothing more
        self._wanted = self.find_placement()
        self._check_room()
        going = draining()
        for gang in self.pool.gangs:
            if not gang.is_leaving and any(one.node_id in going for one in gang.addresses.values()):
                self.progress.note(f"the machine of {gang.unit.name} is about to go", unit=gang.unit.name)
                self.pool.ask_to_stop(gang)
        self.pool.ask_for_news()
        self._tell()

    def _check_room(self) -> None:
        """Tell of a long wait for a machine."""
        if any(gang.is_working for gang in self.pool.gangs):
            self._waiting_since, self._patience = time.monotonic(), PATIENCE_SECONDS
            return
        if (waited := time.monotonic() - self._waiting_since) > self._patience:
            self._patience = 4 * waited
            most = max((unit.members for unit in self.schedule.waiting), default=1)
            self.progress.note(
                f"nothing is at work after {waited:.0f} s: waiting for a machine with room for {most} "
                f"processes, each with {self._wanted.cores} free cores and {self._wanted.gpus:g} free GPUs"
            )

    def _tell(self) -> None:
        for name, text in self.pool.warnings:
            if text not in self._warned:  # each once: all processes have the same libraries
                self._warned.add(text)
                self.progress.note(f"worker {name} warns: {text}")
        self.pool.warnings.clear()
        announce(
            self.lease, "working" if self.pool.gangs else "starting", self.schedule, self.pool, self.progress
        )
        self.metrics.show(self.pool.gangs)

    def _wind_up(self) -> None:
        """Let gangs keep what they have."""
        announce(self.lease, "stopping", self.schedule, self.pool, self.progress)
        self.progress.note("interrupted: what is at work is kept; a second signal ends at once")
        for gang in list(self.pool.gangs):
            if gang.is_working:
                self.pool.ask_to_stop(gang)
            else:
                self.pool.end(gang)
        until = time.monotonic() + STOP_SECONDS
        while self.pool.gangs and time.monotonic() < until:
            for ended in self.pool.collect(1.0):
                self._take(ended)


def refuse_large_gangs(
    units: list[Unit], placement: Placement, machine_cores: float, machine_gpus: float
) -> None:
    """Refuse a gang that this machine, which no other joins, can never hold.

    Raises:
        ConfigurationError: naming what is asked for and what there is.

    """
    most = max((unit.members for unit in units), default=0)
    if most * placement.cores > machine_cores or most * placement.gpus > machine_gpus:
        raise ConfigurationError(
            f"a gang of {most} processes with {placement.cores} cores and {placement.gpus:g} GPUs each does "
            f"not fit this machine, which has {machine_cores:g} cores and {machine_gpus:g} GPUs: lower "
            "`shards`, or join a cluster with --address."
        )
