"""Files that no reader of the newest version needs, deleted: on request, or because nobody ever saw them.

`replaced`: what a later version holds in other files. Deleted on request (`vacuum`), and with these go the
versions from before a compaction, and readers that have one open. Markers stay, since they are what tells a
sweep which prompts are done.
`leftover`: what a compaction has written that was killed. One that sleeps and has lost its lease looks the
same, so these go once they are a day old, whenever the next one starts. One that fails deletes them itself.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline.store.compaction.projections import PROJECTIONS
from pipeline.store.delta import StoredTables, TableLog
from pipeline.store.files import Entry
from pipeline.store.layout import COMPACTIONS, compaction_of, data_folder, folder_of, projection_folder

LEFTOVER_AGE = 24 * 3600.0
"""Seconds after which a compaction that has published nothing is taken for dead."""


@dataclass(frozen=True)
class Deleted:
    """Number of files that were deleted, and their size."""

    files: int
    bytes: int


@dataclass(frozen=True)
class History:
    """Compactions that wrote to a table, by its log."""

    log: TableLog

    added: frozenset[str]
    """Compactions that were published."""

    live: frozenset[str]
    """Compactions whose files count now; all of one's files do, or none."""


def _histories(stored: StoredTables) -> dict[str, History]:
    return {t: History(log, _ids(log.added), _ids(log.live)) for t, log in stored.logs().items()}


def vacuum(stored: StoredTables) -> Deleted:
    """Delete the files that later versions replaced."""
    histories = _histories(stored)
    entries = [entry for entry in _entries(stored) if _replaced(entry.name, histories)]
    stored.folder.delete(entry.name for entry in entries)
    return Deleted(len(entries), sum(entry.bytes for entry in entries))


def delete_leftovers(stored: StoredTables) -> None:
    """Delete what compactions have written that died before they published it."""
    # Listed before the logs are read: what is published in between is then known as published.
    entries, histories = _entries(stored), _histories(stored)
    old = time.time() - LEFTOVER_AGE
    stored.folder.delete(e.name for e in entries if e.modified < old and _never_published(e.name, histories))


def delete_unpublished(stored: StoredTables, id: str, tried: Collection[str]) -> None:
    """Delete what a compaction that failed has written, but for the tables that it `tried` to publish.

    A version that was refused may be there all the same, or come yet, where only the answer was lost.
    """
    kept = {COMPACTIONS, *tried} if tried else set()
    names = (entry.name for entry in _entries(stored) if compaction_of(entry.name) == id)
    stored.folder.delete([name for name in names if _table(folder_of(name)) not in kept])


def _entries(stored: StoredTables) -> list[Entry]:
    listed = (*map(data_folder, stored.kinds), *map(projection_folder, PROJECTIONS), COMPACTIONS)
    return [entry for name in listed for entry in stored.folder.list(name)]


def _replaced(name: str, histories: dict[str, History]) -> bool:
    if id := compaction_of(name):
        owners = _owners(folder_of(name), histories)
        return any(id in owner.added for owner in owners) and all(id not in owner.live for owner in owners)
    owner = histories.get(folder_of(name))
    # A shard's file that no log ever named may be committed and wait to be published.
    return owner is not None and name in owner.log.added and name not in owner.log.live


def _never_published(name: str, histories: dict[str, History]) -> bool:
    id = compaction_of(name)
    return id is not None and all(id not in owner.added for owner in _owners(folder_of(name), histories))


def _owners(owner: str, histories: dict[str, History]) -> list[History]:
    """Return the tables that decide if a compaction's file counts: its own, or all for a manifest."""
    if owner == COMPACTIONS:
        return list(histories.values())
    return [histories[_table(owner)]]


def _table(folder: str) -> str:
    """Return the table of a projection's folder; any other folder as it is."""
    return PROJECTIONS[folder].table if folder in PROJECTIONS else folder


def _ids(paths: Iterable[str]) -> frozenset[str]:
    """Return the compactions that wrote these files."""
    return frozenset(id for path in paths if (id := compaction_of(path)))
