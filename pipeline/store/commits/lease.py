"""One at a time: a small file, created only where there is none, says which process holds an output.

There are two, since a compaction and a run may go on side by side: `_driver.json` is held by what makes rows
(a run), `_upkeep.json` by what moves them (compaction, vacuum). A repair takes rows away, and holds both.

The holder writes its file again every few seconds. Whoever finds it and sees it change is refused; where it
has not changed for a minute, or the process that it names was on this machine and is gone, its holder is dead
and the lease is taken over. Of two that take over at the same moment one writes last, and only that one
finds its own name there a moment later. A holder that slept through a minute finds another's name and stops.

That rows are seen once does not rest on the drivers' lease (see `overlaps`); that a repair takes away what it
looked at does rest on both. Clocks of machines differ and jump, so the times in the file decide nothing: the
minute is watched by the watcher's own clock, which only goes forward.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import getnode, uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import StoreError
from pipeline.store.files import DataFolder
from pipeline.store.layout import DRIVER, UPKEEP

logger = logging.getLogger(__name__)

_DOING = {DRIVER: "is being written", UPKEEP: "is being compacted or repaired"}
"""Words for what the holder of each lease does to the output."""


@dataclass(frozen=True)
class Pace:
    """Pace of a holder's beats, and the silence after which it counts as dead."""

    beat: float = 10.0
    """Seconds between two writes."""

    stale: float = 60.0
    """Seconds without one after which the lease is free."""

    settle: float = 2.0
    """Seconds after which one that took over looks whether another did so too."""


class Holder(BaseModel):
    """Who drives an output."""

    model_config = ConfigDict(frozen=True)

    token: str
    """Name of this one lease."""

    host: str
    pid: int
    processes: str
    """Start of a machine, and its container, that number their processes as `pid`."""

    since: datetime
    """Start of the lease, UTC."""

    beat: datetime
    """Last beat, UTC."""

    run: dict[str, Any] | None = None
    """State of its run at the last beat; None while it has said nothing."""

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        now = datetime.now(UTC)
        host, processes = socket.gethostname(), _process_space()
        return cls(token=uuid4().hex, host=host, pid=os.getpid(), processes=processes, since=now, beat=now)

    @property
    def is_near(self) -> bool:
        """True if it is, or was, a process whose number means the same here."""
        return (self.host, self.processes) == (socket.gethostname(), _process_space())

    @property
    def has_gone(self) -> bool:
        """True if it was a process of this machine and has ended."""
        if not self.is_near:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # another user's
        return False

    @property
    def age(self) -> float:
        """Seconds since it last wrote, by two machines' clocks: good enough to be shown, not to decide."""
        return (datetime.now(UTC) - self.beat).total_seconds()

    @property
    def is_dead(self) -> bool:
        """True if it has ended, or seems to have been silent for so long that it is thought dead."""
        return self.has_gone or self.age > Pace().stale


class Lease:
    """A lease that this process holds."""

    def __init__(self, folder: DataFolder, holder: Holder, name: str = DRIVER) -> None:
        self._folder = folder
        self._name = name
        self._holder = holder
        self._lost_to: Holder | None = None
        self._run: dict[str, Any] | None = None
        self._ended = threading.Event()

    def check(self) -> None:
        """Find that it is still held, by what the last beat saw.

        Raises:
            StoreError: another process has taken it over.

        """
        if self._lost_to is not None:
            raise StoreError(
                f"{self._folder.url} was taken over {_by(self._lost_to)}, because this process had not been "
                "heard of for too long. What it committed counts; the other goes on."
            )

    def confirm(self) -> None:
        """Find that it is still held by a look at the file, since after a sleep the next beat may be to come.

        Raises:
            StoreError: another process has taken it over, or the store does not answer.

        """
        found = read_holder(self._folder, self._name)
        if found is not None and found.token != self._holder.token:
            self._lost_to = found
        self.check()

    def say(self, run: dict[str, Any]) -> None:
        """Let the next beats say where the run stands, so that others can tell by the output alone."""
        self._run = run

    def keep_beating(self, every: float) -> None:
        """Write again and again until it is ended or lost."""
        while not self._ended.wait(every):
            with suppress(StoreError):  # a store that is away for a moment: the next beat tries again
                found = read_holder(self._folder, self._name)
                if found is not None and found.token != self._holder.token:
                    self._lost_to = found
                    return
                now = self._holder.model_copy(update={"beat": datetime.now(UTC), "run": self._run})
                self._folder.replace(self._name, now.model_dump_json().encode())

    def stop_beating(self) -> None:
        """Let `keep_beating` return."""
        self._ended.set()

    def give_back(self) -> None:
        """Free the output for others."""
        found = read_holder(self._folder, self._name)
        if found is not None and found.token == self._holder.token:
            self._folder.delete([self._name])


@contextmanager
def hold(folder: DataFolder, pace: Pace | None = None, name: str = DRIVER) -> Iterator[Lease]:
    """Hold an output for as long as this lasts.

    Args:
        folder: the output.
        pace: how often to write, and how long to wait for another's next beat.
        name: the lease, `DRIVER` or `UPKEEP`.

    Raises:
        StoreError: another process holds it.

    """
    pace = pace or Pace()
    lease = Lease(folder, _take(folder, pace, name), name)
    heart = threading.Thread(target=lease.keep_beating, args=(pace.beat,), name="lease", daemon=True)
    heart.start()
    try:
        yield lease
    finally:
        lease.stop_beating()
        heart.join()
        with suppress(StoreError):  # why it ends matters more; a lease that stays goes stale
            lease.give_back()


def _take(folder: DataFolder, pace: Pace, name: str) -> Holder:
    ours = Holder.here()
    data = ours.model_dump_json().encode()
    if folder.create(name, data):
        return ours
    found = read_holder(folder, name)
    if found is not None and found.token == ours.token:
        return ours  # our create was done, its answer lost, and the client's next try refused
    if found is not None:
        _wait_until_stale(folder, found, pace, name)
    folder.replace(name, data)
    time.sleep(pace.settle)
    last = read_holder(folder, name)
    if last is not None and last.token != ours.token:
        raise _held(folder, last, name)
    return ours


def _wait_until_stale(folder: DataFolder, found: Holder, pace: Pace, name: str) -> None:
    """Watch a lease until nothing was written to it for a whole minute.

    Raises:
        StoreError: its holder lives.

    """
    if found.has_gone:
        return
    # A process that lives here and wrote a moment ago need not be watched; one with a number that another
    # has by now, or after the clock was set, is.
    if found.is_near and 0 <= found.age < 2 * pace.beat:
        raise _held(folder, found, name)
    logger.warning(
        "%s %s %s, or was until that process died; waiting for up to %.0f s to find out",
        folder.url,
        _DOING[name],
        _by(found),
        pace.stale,
    )
    until = time.monotonic() + pace.stale
    while time.monotonic() < until:
        time.sleep(min(1.0, pace.beat / 2))
        now = read_holder(folder, name)
        if now is None:
            return
        if now != found:
            raise _held(folder, now, name)
        if found.has_gone:
            return


def _held(folder: DataFolder, holder: Holder, name: str) -> StoreError:
    return StoreError(
        f"{folder.url} {_DOING[name]} {_by(holder)}. Wait until it ends, or choose another output; "
        "if that process is dead, start again in a minute."
    )


def _by(holder: Holder) -> str:
    return f"by process {holder.pid} on {holder.host} since {holder.since:%Y-%m-%d %H:%M:%S} UTC"


def read_holder(folder: DataFolder, name: str = DRIVER) -> Holder | None:
    """Return who holds a lease now; None if nobody does, or nobody can tell."""
    data = folder.read_if_there(name)
    try:
        return Holder.model_validate_json(data) if data else None
    except ValidationError:
        return None


@cache
def _process_space() -> str:
    """Return a name of this start of this machine, and of its container.

    A hostname is no name: clones share it, and Linux numbers its first process namespace alike everywhere.
    """
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.is_file() and space.is_symlink():
        return f"{boot.read_text().strip()} {os.readlink(space)}"
    return f"{getnode():012x}"  # no such files: the network card's number
