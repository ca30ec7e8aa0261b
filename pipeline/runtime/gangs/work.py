"""Long work: a unit takes hours, keeps checkpoints of its own, and may need several processes that meet every
step.

Where a kind of work (`pipeline.runtime.work`) says what one of very many items becomes, this says how to go
on with one of a few units: from its last complete checkpoint, by whichever process gets it next.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.runtime.work import WorkerResources


@dataclass(frozen=True)
class Unit:
    """A piece of long work."""

    name: str
    members: int = 1
    """Processes that it takes, all on one machine."""

    after: tuple[str, ...] = ()
    """Units of the same run that must be done before."""


@dataclass(frozen=True)
class News:
    """How far a unit is."""

    step: int = 0
    steps: int = 0
    """Steps in all, those of earlier starts among them; 0 while it is not known."""

    saved: int = 0
    """Step of the last complete checkpoint."""

    rate: float = 0.0
    """Tokens, rows or what it counts, a second."""

    seconds_left: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    """What is measured on the way, by name."""


@dataclass
class Member:
    """One process of a unit's gang, as the work in it sees it."""

    resources: WorkerResources
    rank: int
    size: int
    port: int
    """Port of this machine, on its own address alone, at which the members meet."""

    listener: socket.socket | None = None
    """The listening socket at that port, in the member of rank 0."""

    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the work is to be kept and left, soon: a signal, or a machine that is about to go."""

    news: News = field(default_factory=News)
    """Replaced by the work, and read by whoever asks."""

    mean_life: float | None = None
    """Mean seconds that this unit's gangs worked until they died; None while none has died."""


class GangWork(Protocol):
    """How to go on with a unit. Made by the driver, pickled, and used in every process of a gang."""

    @property
    def memory_bytes(self) -> int | None:
        """Memory of one process; where it is not known (None), a machine without GPUs gets only one."""

    def go_on(self, unit: str, member: Member) -> bool:
        """Go on with a unit from its last complete checkpoint.

        Returns: True if it is done; False if it was asked to stop, and what it had is kept.

        Raises:
            StageError: it cannot go on, whoever tries, and what it had is kept. Others may.
            StoreError: it cannot be read or written; tried again.
            CircuitSweepError: nobody can do this work.

        """
