"""The driver: a replica for each place, shards for each replica, and what becomes of a shard when one dies.

Ray's own restarts are off, because what to do after a death depends on the shard (see `waiting`). Shards are
made while workers work, a few ahead; the driver's own share is about 2.5 milliseconds a shard
(`circuit-sweep bench --driver`).
"""

from __future__ import annotations

import gc
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from typing import Any

from ray.exceptions import ActorDiedError, RayTaskError

from pipeline.errors import CircuitSweepError
from pipeline.runtime.deaths import LoadingDeaths, death_reason, give_up
from pipeline.runtime.messages import ShardReport
from pipeline.runtime.placement import Placement
from pipeline.runtime.pool import Call, Fleet, Replica, is_death
from pipeline.runtime.session import draining
from pipeline.runtime.shard import Shard
from pipeline.runtime.signals import first_signal_asks, signals_ignored
from pipeline.runtime.telemetry import Metrics, Progress, ProgressFile, Standing
from pipeline.runtime.waiting import DEATHS, Waiting
from pipeline.store import Output, marker_name

ERRORS = 3
"""Failures to write a shard after which the sweep stops."""

AHEAD = 2
"""Shards that are ready for each replica, so that none waits for the tokeniser."""

PATIENCE_SECONDS = 60.0
"""Wait for a replica before the user is told, for the first time, what is waited for."""

LOOK_SECONDS = 10.0
"""Pause between two looks at the cluster, for machines that came or went and workers that hang."""

NOTES = 10
"""Notes that the progress file repeats."""

GRACE_SECONDS = 25.0
"""Time that workers get to finish the prompt at hand: spot machines live 30 s to 2 min after their notice."""


@dataclass
class Driver:
    """Runs shards on replicas until all are committed."""

    shards: Iterable[Shard]
    """What is to do, made on demand."""

    output: Output
    fleet: Fleet
    placement: Callable[[], Placement]
    """Replicas that the cluster has room for now."""

    progress: Progress
    waiting: Waiting = field(default_factory=Waiting)
    """What is made and nobody holds."""

    wanted: Placement = field(default_factory=lambda: Placement(0, 1, 0))
    """Replicas that there should be now."""

    loading_deaths: LoadingDeaths = field(default_factory=LoadingDeaths)
    """What speaks for a model that cannot be loaded here."""

    seen_commit: bool = False
    """Whether a worker's commit was found where the driver reads."""

    deaths: int = 0
    """Workers that died."""

    last_death: float = 0.0
    """When a worker was last found dead."""

    patience: float = PATIENCE_SECONDS
    """Wait for a replica before that is said."""

    unready_since: float = field(default_factory=time.monotonic)
    """When a replica was last ready, or the driver began."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    looked: float | None = None
    """When the cluster was looked at."""

    def run(self) -> None:
        """Work until no shard is left.

        Raises:
            CircuitSweepError: the engine cannot be loaded, or the output cannot be written.
            KeyboardInterrupt: a signal asked for the end; workers have committed what they had.

        """
        self.metrics = Metrics(self.output.url)
        with first_signal_asks() as asked, ProgressFile(self.output.folder) as board, _old_objects_kept():
            state = "failed"
            try:
                self._work(asked, board)
                state = "interrupted" if asked.is_set() else "finished"
            except KeyboardInterrupt:
                state = "interrupted"
                raise
            finally:
                with signals_ignored():  # soon done
                    self.fleet.remove_all()
                    self._show(state, board)
        if asked.is_set():
            raise KeyboardInterrupt

    def _work(self, asked: Event, board: ProgressFile) -> None:
        source = iter(self.shards)
        self._fill(source, 1)
        while self._has_work and not asked.is_set():
            self._step(source, board)
        if asked.is_set():
            self._show("stopping", board)
            self._wind_up()

    @property
    def _has_work(self) -> bool:
        return bool(self.waiting or self.fleet.held)

    def _step(self, source: Iterator[Shard], board: ProgressFile) -> None:
        if self.looked is None or time.monotonic() - self.looked > LOOK_SECONDS:
            self._look()
            self._show("working" if self.progress.working_since else "starting", board)
        self._start()
        self._dispatch()
        more = self._fill(source, AHEAD * max(1, self.wanted.replicas))
        self._collect(timeout=0.0 if more else 1.0)
        self.progress.show()

    def _wind_up(self) -> None:
        """Let workers finish the prompt at hand and commit what they have."""
        self.progress.note("interrupted: workers finish the prompt at hand; a second signal ends at once")
        for replica in list(self.fleet.replicas):
            self.fleet.ask_to_leave(replica)
        deadline = time.monotonic() + GRACE_SECONDS
        while self.fleet.held and time.monotonic() < deadline:
            self._collect(timeout=1.0)

    def _fill(self, source: Iterator[Shard], wanted: int) -> bool:
        """Make one more shard if fewer than wanted are ready; tell whether one more is to follow at once."""
        ready = self.waiting.ready
        shard = next(source, None) if len(ready) < wanted else None
        if shard is not None:
            ready.append(shard)
        return shard is not None and len(ready) < wanted

    def _look(self) -> None:
        """Look what became of the cluster and of the replicas."""
        self.looked = time.monotonic()
        self.wanted = self.placement()
        going = draining()
        for replica in self.fleet.staying:
            if replica.place is not None and replica.place.node_id in going:
                self.progress.note(
                    f"the machine of worker {replica.name} is about to go", worker=replica.name
                )
                self.fleet.ask_to_leave(replica)
        self.fleet.ask_for_signs()
        patience = self.fleet.prompt_seconds + GRACE_SECONDS
        for replica in self.fleet.silent(patience):
            self._died(replica, f"it gave no sign of life for {patience:.0f} s (see workers.prompt_seconds).")
        self._complain_of_waiting()

    def _start(self) -> None:
        """Start replicas while there are fewer than wanted, and give up those that found no machine."""
        staying = self.fleet.staying
        useful = min(self.wanted.replicas, len(self.waiting) + self.fleet.held)
        if len(staying) < useful and time.monotonic() >= self.loading_deaths.start_after:
            self.fleet.start(self.wanted)
        if (surplus := len(staying) - self.wanted.replicas) > 0:
            unplaced = [replica for replica in staying if replica.state == "waiting"]
            for replica in unplaced[:surplus]:
                self.fleet.remove(replica)

    def _dispatch(self) -> None:
        """Give suspects to replicas that hold nothing, and other shards to the rest."""
        staying, ready, suspects = self.fleet.staying, self.waiting.ready, self.waiting.suspects
        free = sorted((replica for replica in staying if replica.room), key=lambda r: len(r.shards))
        kept = len(suspects)  # as many replicas get nothing else until they hold nothing
        for replica in free[:kept]:
            if not replica.shards and self._is_alive(replica):
                self.fleet.send(replica, suspects.popleft())
        for replica in free[kept:]:
            if ready and not replica.shards:
                self.fleet.send(replica, ready.popleft())
        loading = sum(not replica.loaded for replica in staying)  # each wants a first before others a second
        for replica in free[kept:]:
            if len(ready) > loading and replica.room:
                self.fleet.send(replica, ready.popleft())

    def _is_alive(self, replica: Replica) -> bool:
        """Tell whether a replica answered since the last death; if not, ask it.

        A machine takes all its workers with it, and a suspect that was sent to a dead one would be blamed.
        """
        if replica.heard < self.last_death:
            self.fleet.ask_for_sign(replica)
        return replica.heard >= self.last_death

    def _collect(self, timeout: float) -> None:
        """Take in what has ended, waiting for at most one call."""
        for call, result in self.fleet.collect(timeout):
            if isinstance(result, RayTaskError):
                self._raised(call, result)
            elif is_death(result):
                preempted = isinstance(result, ActorDiedError) and result.preempted
                self._died(call.replica, death_reason(result), counts=not preempted)
            else:
                self._ended(call, result)

    def _ended(self, call: Call, result: Any) -> None:
        replica = call.replica
        match call.asked:
            case "place":
                replica.place = result
            case "load":
                replica.loaded, replica.since = True, datetime.now(UTC)
                self.loading_deaths.forget()
                self.progress.begin()
            case "sign":
                replica.last_sign = result
            case "run":
                self._reported(replica, call.shard, result)

    def _reported(self, replica: Replica, shard: Shard, report: ShardReport) -> None:
        """Count what was committed, and take back what was not."""
        if report.shard is not None:
            self._check_visible(report.shard)
            self.progress.committed(report, replica.name)
            self.metrics.committed(report)
        if report.shard is None or report.done < len(shard.prompts):
            if report.shard is not None:  # a part of it: what an earlier attempt left belongs to nobody
                self.output.abandon(shard.id)
            self.waiting.put_first(shard.after(report.done))
        if report.leaving and not replica.leaving:
            replica.leaving = True
            self.progress.note(
                f"worker {replica.name} leaves: it was told to, or a prompt hangs in it", worker=replica.name
            )
        self._let_go(replica)

    def _let_go(self, replica: Replica) -> None:
        """End a replica that is to leave and has nothing more."""
        if replica.leaving and not replica.shards:
            self.fleet.remove(replica)

    def _raised(self, call: Call, error: RayTaskError) -> None:
        """Stop where going on is of no use; a write that failed may work the next time."""
        cause = error.cause if isinstance(error.cause, CircuitSweepError) else error
        if call.shard is None or call.shard.errors + 1 >= ERRORS:
            raise cause
        self.waiting.put_last(replace(call.shard, errors=call.shard.errors + 1))
        self._let_go(call.replica)

    def _died(self, replica: Replica, reason: str, counts: bool = True) -> None:
        """Try again what a dead worker held; `counts` is whether the shards may be at fault."""
        held = self.fleet.remove(replica)
        self.deaths += 1
        self.last_death = time.monotonic()
        self.metrics.died()
        if not replica.loaded and counts and self.loading_deaths.count(replica.since, reason):
            self.progress.note(f"a worker died while loading: {reason}")
        if held:
            prompts = sum(map(len, held))
            self.progress.note(
                f"a worker died, its {prompts} prompts are tried again: {reason}",
                worker=replica.name,
                shards=[shard.id for shard in held],
            )
        for shard in held:
            self._retry(shard.after_death(counts), reason)

    def _retry(self, shard: Shard, reason: str) -> None:
        """Have a shard tried again, as a whole or in halves; give up the prompt that it has come down to."""
        if shard.deaths < DEATHS:
            self.waiting.put_first(shard)
        elif len(shard.prompts) > 1:
            self.output.abandon(shard.id)
            self.waiting.put_halves(shard)
        else:
            report = give_up(shard, self.output, reason)
            self.progress.committed(report, "driver")
            self.metrics.committed(report)

    def _check_visible(self, shard: str) -> None:
        """Find the first commit where the driver reads: machines of a cluster do not share a local disk."""
        if not self.seen_commit and not self.output.folder.exists(marker_name(shard)):
            raise CircuitSweepError(
                f"a worker committed to {self.output.url}, but here nothing arrived: on a cluster, output "
                "must be an s3:// URL or a folder that all machines mount."
            )
        self.seen_commit = True

    def _show(self, state: str, board: ProgressFile) -> None:
        """Say where the sweep stands to those who look from outside."""
        board.show(self._standing(state))
        states = Counter(replica.state for replica in self.fleet.replicas)
        self.metrics.show(len(self.waiting), states)

    def _standing(self, state: str) -> Standing:
        return Standing(
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self.started,
            written=datetime.now(UTC),
            state=state,
            **self.progress.counts(),
            queued_shards=len(self.waiting),
            deaths=self.deaths,
            wanted_workers=self.wanted.replicas,
            workers=tuple(replica.standing() for replica in self.fleet.replicas),
            notes=tuple(self.progress.notes[-NOTES:]),
        )

    def _complain_of_waiting(self) -> None:
        now = time.monotonic()
        if any(replica.loaded for replica in self.fleet.replicas):
            self.unready_since, self.patience = now, PATIENCE_SECONDS
        elif (waited := now - self.unready_since) > self.patience:
            self.patience = 4 * waited  # again, but ever more seldom
            self.progress.note(
                f"no worker is ready after {waited:.0f} s: loading, or waiting for a machine with "
                f"{self.wanted.cores} free cores and {self.wanted.gpus:g} free GPUs"
            )


@contextmanager
def _old_objects_kept() -> Iterator[None]:
    """Spare the garbage collector what is there already, unless somebody has done so with objects of theirs.

    Every few hundred shards it would look through all that torch and Ray have brought: a tenth of a second.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()  # what is garbage now would be kept, too
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
