"""Findings of a verification."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Remedy(StrEnum):
    """Remedy of a problem; `{output}` stands for the output that it is in."""

    REDO = (
        "take these shards back and trace their prompts again: "
        "`circuit-sweep verify {output} --repair`, then the command that made them"
    )
    RUN = "start the sweep again: it does what is missing and publishes what waits"
    PROJECTIONS = (
        "give up the damaged projections, which hold no rows of their own, and write them again: "
        "`circuit-sweep verify {output} --repair`, then `circuit-sweep compact {output} --all`"
    )
    VACUUM = "only earlier versions are damaged; give them up: `circuit-sweep compact {output} --vacuum`"
    AGGREGATE = (
        "give up the damaged result: `circuit-sweep verify {output} --repair`, then the `aggregate` command "
        "that made it"
    )
    NOTE = "delete these files, or put them back from a backup: each is a note that somebody wrote"
    RESTORE = (
        "put these files back from a backup, or run the sweep into another output: they hold rows of many "
        "shards, which no single shard can replace"
    )


REPAIRED = (Remedy.REDO, Remedy.PROJECTIONS, Remedy.AGGREGATE)
"""Problems that `--repair` can fix."""


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written."""

    path: str
    """File, relative to the output."""

    what: str
    """Fault, in one sentence."""

    remedy: Remedy

    drop: str = ""
    """Shard id or manifest name that a repair takes away."""


@dataclass
class Counted:
    """Files of a table that were found sound, or at least there."""

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def add(self, rows: int, size: int) -> None:
        """Count a file."""
        self.files += 1
        self.rows += rows
        self.bytes += size


@dataclass
class CheckedOutput:
    """An output of its own: the sweep, its validation, or an aggregate."""

    name: str
    url: str
    shards: int = 0
    """Finished shards; of an aggregate, 1."""

    tables: dict[str, Counted] = field(default_factory=dict)
    """Files that count, and projections, by table."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Remarks that are no problems."""

    orphans: list[str] = field(default_factory=list)
    """Files that nothing names: of attempts that died or lost, or that are still being written."""

    def count(self, table: str, rows: int, size: int) -> None:
        """Count a file."""
        self.tables.setdefault(table, Counted()).add(rows, size)

    def add(self, problems: Iterable[Problem]) -> None:
        """Take problems in, each once."""
        self.problems = list(dict.fromkeys((*self.problems, *problems)))


@dataclass(frozen=True)
class Report:
    """Findings of a verification of a sweep's output."""

    url: str
    quick: bool
    """True if no file's data was read."""

    parts: tuple[CheckedOutput, ...]

    @property
    def problems(self) -> list[Problem]:
        """All problems."""
        return [problem for part in self.parts for problem in part.problems]

    @property
    def orphans(self) -> list[str]:
        """All files that nothing names."""
        return [name for part in self.parts for name in part.orphans]

    @property
    def sound(self) -> bool:
        """True if nothing is damaged."""
        return not self.problems
