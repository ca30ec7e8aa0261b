"""The schedule: which worker gets which shard, and what becomes of a shard whose worker died.

Pure: events go in, orders come out; no Ray, no clock, no file. Workers are whatever the caller names them by.

A shard that comes back whole goes to the front of its queue. One whose worker died is a *suspect*: it runs
with nothing beside it, because a worker holds two shards (one is written while the next is worked on) and its
death puts both under suspicion. A suspect that kills a worker is split, and split again, until the item that
kills is alone; alone it gets two tries and is then given up. A shard of 32 with one such item costs about
eight deaths. A death that the shards cannot have caused (a machine that was taken away) is held against none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from pipeline.errors import CircuitSweepError
from pipeline.runtime.shards.shard import Shard

SHARDS_HELD = 2
"""Shards that a worker holds at a time: one that is worked on, one that is written."""

AHEAD = 2
"""Shards that are ready for each worker, so that none waits for the next one to be made."""

DEATHS = 2
"""Deaths after which a shard is split, or an item alone is given up."""

ERRORS = 3
"""Failures to write a shard after which the run stops."""

LOAD_DEATHS = 5
"""Waves in a row of workers that die while loading after which the run stops."""

Worker = TypeVar("Worker", bound=Hashable)


@dataclass
class _Record:
    """The schedule's view of one worker."""

    started: int
    heard: int
    """Deaths that had been noticed when it was asked for the last sign of life that it gave."""

    loaded: bool = False
    leaving: bool = False
    held: list[Shard] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        if not self.loaded or self.leaving or any(shard.suspect for shard in self.held):
            return False
        return len(self.held) < SHARDS_HELD


@dataclass(frozen=True)
class Orders(Generic[Worker]):
    """The next things to do."""

    give: tuple[tuple[Worker, Shard], ...]
    """Shards to send, each to a worker, in this order."""

    ask: tuple[Worker, ...]
    """Workers to ask for a sign of life: they may have died beside the last one, unnoticed, and a suspect
    that was sent to a dead worker would be blamed for it."""


@dataclass(frozen=True)
class Death:
    """The consequences of a worker's death."""

    held: tuple[Shard, ...]
    """Shards that it held."""

    given_up: tuple[Shard, ...] = ()
    """Of these, single items that killed their worker too often: to be recorded as failures."""

    abandoned: tuple[str, ...] = ()
    """Ids of shards that are tried again in halves: nobody will finish them under these ids."""

    load_wave: int = 0
    """Number in a row of the wave of workers that died while loading which this one opens; 0 if it opens
    none. Workers that were started together go together, for example with their machine, and count once."""


@dataclass
class ShardSchedule(Generic[Worker]):
    """Shards that wait, shards that are held, and the rules between them."""

    ready: deque[Shard] = field(default_factory=deque)
    """Shards that may run beside another."""

    suspects: deque[Shard] = field(default_factory=deque)
    """Shards that a worker must have alone."""

    deaths: int = 0
    """Deaths noticed so far."""

    _workers: dict[Worker, _Record] = field(default_factory=dict)
    _ticks: int = 0
    """Count of starts of workers and waves of deaths, to tell which came first."""

    _load_waves: int = 0
    _last_wave: int = -1

    @property
    def waiting(self) -> int:
        """Shards that no worker holds."""
        return len(self.ready) + len(self.suspects)

    @property
    def held(self) -> int:
        """Shards that workers hold."""
        return sum(len(record.held) for record in self._workers.values())

    @property
    def has_work(self) -> bool:
        """True while a shard is not done."""
        return bool(self.waiting or self.held)

    def holds(self, worker: Worker) -> tuple[Shard, ...]:
        """Return a worker's shards."""
        return tuple(self._workers[worker].held)

    def is_loaded(self, worker: Worker) -> bool:
        """Tell whether a worker has joined."""
        return self._workers[worker].loaded

    def is_leaving(self, worker: Worker) -> bool:
        """Tell whether a worker gets no more shards."""
        return self._workers[worker].leaving

    def may_go(self, worker: Worker) -> bool:
        """Tell whether a worker is leaving and holds nothing more."""
        record = self._workers[worker]
        return record.leaving and not record.held

    def staying(self) -> list[Worker]:
        """Return the workers that are not about to leave."""
        return [worker for worker, record in self._workers.items() if not record.leaving]

    def wants_workers(self, wanted: int) -> bool:
        """Tell whether one more worker would be of use, up to the number `wanted`."""
        return len(self.staying()) < min(wanted, self.waiting + self.held)

    def wants_shards(self, workers: int) -> bool:
        """Tell whether one more shard should be made, for this number of workers."""
        return len(self.ready) < AHEAD * max(1, workers)

    def add(self, shard: Shard) -> None:
        """Take in a new shard."""
        self.ready.append(shard)

    def started(self, worker: Worker) -> None:
        """Count a worker in, which has still to load."""
        self._ticks += 1
        self._workers[worker] = _Record(started=self._ticks, heard=0)

    def joined(self, worker: Worker) -> None:
        """Let a worker have shards: it has loaded."""
        self._workers[worker].loaded = True
        self._load_waves = 0

    def leaving(self, worker: Worker) -> None:
        """Give a worker no more shards."""
        self._workers[worker].leaving = True

    def left(self, worker: Worker) -> None:
        """Forget a worker, which holds nothing."""
        record = self._workers.pop(worker)
        if record.held:
            raise RuntimeError("a worker left with shards: that is a death")

    def answered(self, worker: Worker, deaths: int) -> None:
        """Note a sign of life, with the number of `deaths` when it was asked for."""
        self._workers[worker].heard = deaths

    def orders(self) -> Orders[Worker]:
        """Hand out what waits: suspects to workers that hold nothing, other shards to the rest."""
        give: list[tuple[Worker, Shard]] = []
        ask: list[Worker] = []

        def hand(worker: Worker, queue: deque[Shard]) -> None:
            shard = queue.popleft()
            self._workers[worker].held.append(shard)
            give.append((worker, shard))

        free = [worker for worker, record in self._workers.items() if record.has_room]
        # Those that hold nothing first: they may take a suspect at once, and are idle until they do.
        free.sort(key=lambda worker: len(self._workers[worker].held))
        # As many workers as there are suspects get nothing else until they hold nothing.
        reserved, rest = free[: len(self.suspects)], free[len(self.suspects) :]
        for worker in reserved:
            record = self._workers[worker]
            if not record.held and record.heard < self.deaths:
                ask.append(worker)
            elif not record.held:
                hand(worker, self.suspects)
        for worker in rest:
            if self.ready and not self._workers[worker].held:
                hand(worker, self.ready)
        # Workers that load want a first shard before others get a second.
        loading = sum(not self._workers[worker].loaded for worker in self.staying())
        for worker in rest:
            if len(self.ready) > loading and self._workers[worker].has_room:
                hand(worker, self.ready)
        return Orders(tuple(give), tuple(ask))

    def reported(self, worker: Worker, shard: Shard, done: int, *, committed: bool) -> str | None:
        """Take back what a worker did not do of a shard: all but its first `done` items.

        Returns the shard's id if nobody will finish it under that id any more, because a part is committed.
        """
        self._release(worker, shard)
        if committed and done >= len(shard.items):
            return None
        self._queue(shard).appendleft(_rest(shard, done) if committed else shard)
        return shard.id if committed else None

    def raised(self, worker: Worker, shard: Shard) -> bool:
        """Take back a shard that could not be written; tell whether it is worth another try."""
        self._release(worker, shard)
        again = replace(shard, errors=shard.errors + 1)
        self._queue(again).append(again)  # others go before it, since waiting may help
        return again.errors < ERRORS

    def died(self, worker: Worker, reason: str, *, at_fault: bool = True) -> Death:
        """Take back all that a dead worker held; `at_fault` is whether its shards may have killed it.

        Raises:
            CircuitSweepError: workers die while they load, again and again.

        """
        record = self._workers.pop(worker)
        self.deaths += 1
        wave = 0 if record.loaded or not at_fault else self._count_load_death(record, reason)
        given_up, abandoned = [], []
        for shard in record.held:
            blamed = _after_death(shard) if at_fault else shard
            if blamed.deaths < DEATHS:
                self._queue(blamed).appendleft(blamed)
            elif len(blamed.items) > 1:
                abandoned.append(blamed.id)
                self.suspects.extendleft(reversed(_halves(blamed)))
            else:
                given_up.append(blamed)
        return Death(tuple(record.held), tuple(given_up), tuple(abandoned), wave)

    def _count_load_death(self, record: _Record, reason: str) -> int:
        if record.started <= self._last_wave:
            return 0  # loaded beside one that was counted, maybe on the machine that went with both
        self._ticks += 1
        self._load_waves, self._last_wave = self._load_waves + 1, self._ticks
        if self._load_waves >= LOAD_DEATHS:
            raise CircuitSweepError(
                f"workers died while loading, {self._load_waves} times in a row; the last time: "
                f"{reason} Most often the machine has too little memory: lower workers.replicas."
            )
        return self._load_waves

    def _release(self, worker: Worker, shard: Shard) -> None:
        held = self._workers[worker].held
        held[:] = [other for other in held if other is not shard]

    def _queue(self, shard: Shard) -> deque[Shard]:
        return self.suspects if shard.suspect else self.ready


def _rest(shard: Shard, done: int) -> Shard:
    """Return what is left after `done` items were committed; an item that is now alone has a clean record."""
    left = shard.items[done:]
    return replace(shard, items=left, rejected=(), deaths=shard.deaths if len(left) > 1 else 0)


def _after_death(shard: Shard) -> Shard:
    """Return a shard with one more death on its record.

    A single item that had a neighbour is not blamed: only deaths that it was alone with may give it up.
    """
    was_alone = shard.suspect or len(shard.items) > 1
    return replace(shard, deaths=shard.deaths + int(was_alone), suspect=True)


def _halves(shard: Shard) -> tuple[Shard, Shard]:
    """Split a shard into suspects that one more death splits again.

    A single item starts without a record, so that it is given up only after it killed twice by itself.
    """
    middle = (len(shard.items) + 1) // 2
    first = replace(shard, items=shard.items[:middle])
    second = replace(shard, items=shard.items[middle:], rejected=())
    return tuple(replace(half, deaths=int(len(half.items) > 1)) for half in (first, second))
