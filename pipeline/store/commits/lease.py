"""One driver at a time: `_driver.json`, created only where there is none, says which process holds an output.

Its holder writes it again every few seconds. Whoever finds it and sees it change is refused; where it has not
changed for a minute, or the process that it names was on this machine and is gone, its holder is dead and the
lease is taken over. Two that take over at the same moment write one after the other, and only the last finds
its own name there a moment later. A holder that slept through a minute finds another's name and stops.

It saves work and keeps reports plain; that rows are seen once does not rest on it (see `overlaps`). Clocks of
machines may differ: a lease that seems old is watched for what is left of the minute by this machine's clock.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import StoreError
from pipeline.store.files import DataFolder
from pipeline.store.layout import DRIVER


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
    """Machine or container that numbers its processes as `pid`."""

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
    def has_gone(self) -> bool:
        """True if it was a process of this machine and has ended."""
        if (self.host, self.processes) != (socket.gethostname(), _process_space()):
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
        """Seconds since it last wrote."""
        return (datetime.now(UTC) - self.beat).total_seconds()

    @property
    def is_dead(self) -> bool:
        """True if it has ended, or has been silent for so long that its lease may be taken over."""
        return self.has_gone or self.age > Pace().stale


class Lease:
    """A lease that this process holds."""

    def __init__(self, folder: DataFolder, holder: Holder) -> None:
        self._folder = folder
        self._holder = holder
        self._lost_to: Holder | None = None
        self._run: dict[str, Any] | None = None
        self._ended = threading.Event()

    def check(self) -> None:
        """Find that it is still held.

        Raises:
            StoreError: another driver has taken it over.

        """
        if self._lost_to is not None:
            raise StoreError(
                f"{self._folder.url} was taken over {_by(self._lost_to)}, because this driver had not been "
                "heard of for too long. What it committed counts; the other goes on."
            )

    def say(self, run: dict[str, Any]) -> None:
        """Let the next beats say where the run stands, so that others can tell by the output alone."""
        self._run = run

    def keep_beating(self, every: float) -> None:
        """Write again and again until it is ended or lost."""
        while not self._ended.wait(every):
            with suppress(StoreError):  # a store that is away for a moment: the next beat tries again
                found = read_holder(self._folder)
                if found is not None and found.token != self._holder.token:
                    self._lost_to = found
                    return
                now = self._holder.model_copy(update={"beat": datetime.now(UTC), "run": self._run})
                self._folder.replace(DRIVER, now.model_dump_json().encode())

    def stop_beating(self) -> None:
        """Let `keep_beating` return."""
        self._ended.set()

    def give_back(self) -> None:
        """Free the output for others."""
        found = read_holder(self._folder)
        if found is not None and found.token == self._holder.token:
            self._folder.delete([DRIVER])


@contextmanager
def hold(folder: DataFolder, pace: Pace | None = None) -> Iterator[Lease]:
    """Hold an output for as long as this lasts.

    Raises:
        StoreError: another driver holds it.

    """
    pace = pace or Pace()
    lease = Lease(folder, _take(folder, pace))
    heart = threading.Thread(target=lease.keep_beating, args=(pace.beat,), name="lease", daemon=True)
    heart.start()
    try:
        yield lease
    finally:
        lease.stop_beating()
        heart.join()
        with suppress(StoreError):  # why it ends matters more; a lease that stays goes stale
            lease.give_back()


def _take(folder: DataFolder, pace: Pace) -> Holder:
    ours = Holder.here()
    data = ours.model_dump_json().encode()
    if folder.create(DRIVER, data):
        return ours
    found = read_holder(folder)
    if found is not None and found.token == ours.token:
        return ours  # our create was done, its answer lost, and the client's next try refused
    if found is not None:
        _wait_until_stale(folder, found, pace)
    folder.replace(DRIVER, data)
    time.sleep(pace.settle)
    last = read_holder(folder)
    if last is not None and last.token != ours.token:
        raise _held(folder, last)
    return ours


def _wait_until_stale(folder: DataFolder, found: Holder, pace: Pace) -> None:
    """Watch a lease until it is free; StoreError if its holder lives."""
    until = time.monotonic() + pace.stale - found.age
    while not found.has_gone and time.monotonic() < until:
        if found.host == socket.gethostname() and found.age < 2 * pace.beat:
            raise _held(folder, found)
        time.sleep(min(1.0, pace.beat / 2))
        now = read_holder(folder)
        if now is None:
            return
        if now != found:
            raise _held(folder, now)


def _held(folder: DataFolder, holder: Holder) -> StoreError:
    return StoreError(
        f"{folder.url} is being written {_by(holder)}. Wait until it ends, or choose another output; if that "
        "process is dead, start again in a minute."
    )


def _by(holder: Holder) -> str:
    return f"by process {holder.pid} on {holder.host} since {holder.since:%Y-%m-%d %H:%M:%S} UTC"


def read_holder(folder: DataFolder) -> Holder | None:
    """Who holds the lease now; None if nobody does, or nobody can tell."""
    data = folder.read_if_there(DRIVER)
    try:
        return Holder.model_validate_json(data) if data else None
    except ValidationError:
        return None


def _process_space() -> str:
    space = Path("/proc/self/ns/pid")
    return os.readlink(space) if space.is_symlink() else ""
