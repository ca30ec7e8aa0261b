"""Files that no marker names: what attempts left that died, or that lost the race for their shard.

Two rules keep a second driver's work in progress safe. The listing is taken before the markers are read,
so a file whose marker came in between is known. And a file whose shard has no marker yet may be about to
get one: it goes only if it is older than this sweep, that is, left by one that was killed, or if the shard
was abandoned because others hold its prompts.
"""

from __future__ import annotations

from collections.abc import Set

from pipeline.store.commits.marker import read_markers_of
from pipeline.store.delta import StoredTables
from pipeline.store.layout import COMMITS, data_folder, shard_of, unfinished_marker

CLOCK_MARGIN = 2.0
"""Seconds by which a store's times may lag ours: they are rounded and clocks differ."""


def delete_orphans(stored: StoredTables, older_than: float, abandoned: Set[str] = frozenset()) -> list[str]:
    """Delete files that no marker and no Delta version names, and return their names."""
    folder = stored.folder
    entries = (
        entry for listed in (*map(data_folder, stored.kinds), COMMITS) for entry in folder.list(listed)
    )
    files = {entry: shard_of(entry.name) or unfinished_marker(entry.name) for entry in entries}
    published = {path for log in stored.logs().values() for path in log.added}
    unsure = {entry: shard for entry, shard in files.items() if shard and entry.name not in published}
    # Only of what no version names, which are few: after many nights there are very many markers.
    markers = list(read_markers_of(folder, stored.kinds, set(unsure.values())))
    named = {file.path for marker in markers for file in marker.files.values()}
    done = {marker.shard for marker in markers} | abandoned
    before = older_than - CLOCK_MARGIN
    orphans = [
        entry.name
        for entry, shard in unsure.items()
        if entry.name not in named and (entry.modified < before or shard in done)
    ]
    folder.delete(orphans)
    return sorted(orphans)
