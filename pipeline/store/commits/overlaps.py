"""Markers that cover the same prompt, and which of them counts: after drivers that cut shards differently.

A marker is taken or dropped as a whole. In the order of publication, then of (created, shard), each is taken
unless a taken one covers one of its prompts, be it by a graph or by a failure. A dropped marker is as if it
had never been: none of its rows are seen, and those of its prompts that no taken one covers are not done, so
that the next start traces them again. Rewriting its files without the covered rows would save that work and
cost a second way for rows to come into the store; overlaps are rare.

Published ones come first whatever their clocks say, because a compaction may have mixed their rows with
others'. Publishing deletes the markers that it dropped: a shard of the same prompts may then be done, and
readers need not read all markers because of one that is never published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass
from itertools import chain

import numpy as np

from pipeline.store.commits.marker import Marker, read_markers
from pipeline.store.delta import TableLog
from pipeline.store.files import DataFolder
from pipeline.store.layout import marker_name, shard_of


@dataclass(frozen=True)
class Commits:
    """All that workers have committed."""

    taken: list[Marker]
    """The markers that count, in the order of their ids."""

    dropped: frozenset[str]
    """Shards whose markers do not count."""


def read_commits(folder: DataFolder, tables: Collection[str], published: Set[str]) -> Commits:
    """Every marker, taken or dropped; `published` are the shards that a log of the output's tables names."""
    markers = list(read_markers(folder, tables))
    dropped = overlapping(markers, published)
    return Commits([marker for marker in markers if marker.shard not in dropped], dropped)


def published_shards(logs: Iterable[TableLog]) -> set[str]:
    """The shards whose rows a table's log counts; one that was withdrawn may be done again."""
    return {shard for log in logs for path in log.published if (shard := shard_of(path))}


def delete_dropped(folder: DataFolder, dropped: Iterable[str]) -> None:
    """Deletes the markers of dropped shards, whose files are orphans from then on."""
    folder.delete(list(map(marker_name, dropped)))


def overlapping(markers: Iterable[Marker], published: Set[str]) -> frozenset[str]:
    """The shards whose markers do not count."""
    markers = list(markers)
    keys = np.fromiter(chain.from_iterable(marker.keys for marker in markers), np.int64)
    keys.sort()  # a set, or numpy's own `unique`, takes more than ten times as long
    if (keys[1:] != keys[:-1]).all():  # the rule
        return frozenset()
    covered: set[int] = set()
    dropped = set()
    for marker in sorted(markers, key=lambda m: (m.shard not in published, m.created, m.shard)):
        if covered.isdisjoint(marker.keys):
            covered.update(marker.keys)
        else:
            dropped.add(marker.shard)
    return frozenset(dropped)
