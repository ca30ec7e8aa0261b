"""Long work of a page: units that count, one after the other, keep their count, and misbehave on demand."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from torch.distributed import TCPStore

from pipeline.errors import StoreError
from pipeline.runtime.gangs.work import Member, News
from pipeline.runtime.shards import StageError

STEPS = 12
EVERY = 3
"""Steps from one checkpoint to the next."""


@dataclass
class Count:
    """Counts to `STEPS` in every unit. A file in the folder makes a unit misbehave at a step."""

    folder: str
    pause: float = 0.02
    steps: int = STEPS
    memory_bytes: int | None = 1

    def go_on(self, unit: str, member: Member) -> bool:
        """Count from the last checkpoint."""
        meeting = self._meet(member)
        for step in range(saved(self.folder, unit), self.steps):
            if member.stop.is_set():
                write(self.folder, unit, step)
                return False
            time.sleep(self.pause)
            self._wait(step)
            self._misbehave(unit, step, member.rank)
            if meeting is not None:  # nobody takes a step that others have not taken
                meeting.add(f"{step}", 1)
                while meeting.add(f"{step}", 0) < member.size:
                    time.sleep(0.01)
            self._log(unit, step, member)
            if (step + 1) % EVERY == 0 and member.rank == 0:
                write(self.folder, unit, step + 1)
            member.news = News(
                step + 1, self.steps, saved(self.folder, unit), 1.0, figures={"fvu": 1 / (step + 1)}
            )
        if member.rank == 0:
            write(self.folder, unit, self.steps)
        return True

    def _wait(self, step: int) -> None:
        """Wait where the test does not let anybody pass yet."""
        gate = Path(self.folder, "gate")
        while gate.exists() and step >= int(gate.read_text() or 0):
            time.sleep(0.02)

    def _meet(self, member: Member) -> TCPStore | None:
        if member.size == 1:
            return None
        fd = None if member.listener is None else member.listener.detach()
        return TCPStore(
            "127.0.0.1",
            member.port,
            member.size,
            is_master=fd is not None,
            master_listen_fd=fd,
            use_libuv=False,
        )

    def _log(self, unit: str, step: int, member: Member) -> None:
        line = f"{time.time()} {step} {member.rank} {os.getpid()}\n"
        with Path(self.folder, f"{unit}.log").open("a") as log:
            log.write(line)

    def _misbehave(self, unit: str, step: int, rank: int) -> None:
        for what in ("kill", "give-up", "no-room"):
            path = Path(self.folder, f"{unit}-{step}-{rank}-{what}")
            if not path.exists():
                continue
            path.unlink()
            match what:
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "give-up":
                    raise StageError("step", ValueError(f"step {step} is not a number: lower the rate"))
                case "no-room":
                    raise StoreError("no space left")


def saved(folder: str, unit: str) -> int:
    """Return the step that a unit goes on from."""
    path = Path(folder, f"{unit}.saved")
    return int(path.read_text()) if path.exists() else 0


def write(folder: str, unit: str, step: int) -> None:
    """Keep a count, whole or not at all."""
    path = Path(folder, f".{unit}.{os.getpid()}")
    path.write_text(str(step))
    path.rename(Path(folder, f"{unit}.saved"))


def steps_of(folder: Path, unit: str) -> list[int]:
    """Return the steps that were taken, in their order, those of rank 0."""
    lines = (line.split() for line in (folder / f"{unit}.log").read_text().splitlines())
    return [int(step) for _, step, rank, _ in lines if rank == "0"]
