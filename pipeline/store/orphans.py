"""Files that no marker names: what attempts left that died, or that lost the race for their shard.

Two rules keep a second driver's work in progress safe. The listing is taken before the markers are read,
so a file whose marker came in between is known. And a file whose shard has no marker yet may be about to
get one: it goes only if it is older than this sweep, that is, left by one that was killed.
"""

from __future__ import annotations

import re

from pipeline.store.folder import Entry, Folder
from pipeline.store.marker import read_markers
from pipeline.store.publish import added_paths
from schemas import TABLES

CLOCK_MARGIN = 2.0
"""Seconds by which a store's times may lag ours: they are rounded and clocks differ."""

OURS = re.compile(r"(?P<table>\w+)/(?P<shard>[0-9a-f]{32})-[\w-]+\.parquet")
"""The form of our data files' names; others' files (a compaction's, say) are theirs to delete."""


def delete_orphans(folder: Folder, older_than: float) -> list[str]:
    """Deletes files that no marker and no Delta version names; returns their names."""
    files = [entry for table in TABLES for entry in folder.list(table)]
    markers = list(read_markers(folder))
    named = {file.path for marker in markers for file in marker.files.values()}
    done = {marker.shard for marker in markers}
    candidates = [entry for entry in files if entry.name not in named and _deletable(entry, done, older_than)]
    if candidates:
        published = {path for table in TABLES for path in added_paths(folder, table)}
        candidates = [entry for entry in candidates if entry.name not in published]
    orphans = sorted(entry.name for entry in candidates)
    folder.delete(orphans)
    return orphans


def _deletable(entry: Entry, done: set[str], older_than: float) -> bool:
    ours = OURS.fullmatch(entry.name)
    return ours is not None and (ours["shard"] in done or entry.modified < older_than - CLOCK_MARGIN)
