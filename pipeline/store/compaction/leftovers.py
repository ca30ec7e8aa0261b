"""Files that no reader of the newest version needs, deleted: on request, or because nobody ever saw them.

`replaced`: what a later version holds in other files. Deleted on request (`vacuum`), and with these go the
versions from before a compaction, and readers that have one open. Markers stay, since they are what tells a
sweep which prompts are done.
`leftover`: what a compaction has written that died or lost a race. A compaction still at work looks the
same, so these go once they are a day old, whenever the next one starts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.store.compaction.manifest import COMPACTIONS
from pipeline.store.compaction.projections import COPIES
from pipeline.store.delta import TableLog, read_log
from pipeline.store.files import Entry, Folder

LEFTOVER_AGE = 24 * 3600.0
"""Seconds after which a compaction that has published nothing is taken for dead."""

COMPACTED = re.compile(
    r"(?P<place>\w+)/(compacted-)?(?P<id>\d{8}T\d{12}-[0-9a-f]{8})(-\d{5}\.parquet|\.json)"
)
"""Names of a compaction's files and of its manifest."""


@dataclass(frozen=True)
class Deleted:
    """What was deleted."""

    files: int
    """Number of files."""

    bytes: int
    """Their size."""


@dataclass(frozen=True)
class History:
    """What a table's log says of the compactions that wrote to it."""

    log: TableLog
    """The log."""

    added: frozenset[str]
    """Compactions that were published."""

    live: frozenset[str]
    """Compactions whose files count now; all of one's files do, or none."""

    @classmethod
    def read(cls, folder: Folder, table: str) -> History:
        """Read a table's log."""
        log = read_log(folder, table)
        return cls(log, _ids(log.added), _ids(log.live))


def vacuum(folder: Folder, tables: Iterable[str]) -> Deleted:
    """Deletes the files that later versions replaced."""
    histories = {table: History.read(folder, table) for table in tables}
    entries = [entry for entry in _entries(folder, histories) if _replaced(entry.name, histories)]
    folder.delete(entry.name for entry in entries)
    return Deleted(len(entries), sum(entry.bytes for entry in entries))


def delete_leftovers(folder: Folder, tables: Iterable[str]) -> None:
    """Deletes what compactions have written that died before they published it."""
    tables = list(tables)
    entries = _entries(folder, tables)
    histories = {table: History.read(folder, table) for table in tables}
    old = time.time() - LEFTOVER_AGE
    folder.delete(e.name for e in entries if e.modified < old and _never_published(e.name, histories))


def _entries(folder: Folder, tables: Iterable[str]) -> list[Entry]:
    return [entry for place in (*tables, *COPIES, COMPACTIONS) for entry in folder.list(place)]


def _replaced(name: str, histories: dict[str, History]) -> bool:
    if match := COMPACTED.fullmatch(name):
        id, owners = match["id"], _owners(match["place"], histories)
        return any(id in owner.added for owner in owners) and all(id not in owner.live for owner in owners)
    owner = histories.get(name.partition("/")[0])
    return owner is not None and name in owner.log.added and name not in owner.log.live


def _never_published(name: str, histories: dict[str, History]) -> bool:
    match = COMPACTED.fullmatch(name)
    return match is not None and all(
        match["id"] not in owner.added for owner in _owners(match["place"], histories)
    )


def _owners(place: str, histories: dict[str, History]) -> list[History]:
    """The tables that say whether a compaction's file counts: the one it holds, or all for a manifest."""
    if place == COMPACTIONS:
        return list(histories.values())
    return [histories[COPIES[place].table if place in COPIES else place]]


def _ids(paths: Iterable[str]) -> frozenset[str]:
    """The compactions that wrote these files."""
    return frozenset(match["id"] for path in paths if (match := COMPACTED.fullmatch(path)))
