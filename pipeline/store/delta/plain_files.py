"""A table for readers that know no log: pandas, a DuckDB or Polars glob, pyarrow and Spark read its folder.

All files of a table lie in its `_data` folder, where these readers do not look. Those that the last version
holds have a second name right in the table's folder: on a local disk a hard link, which takes no room, on S3
a copy, which takes as much again. Second names follow the log: whoever published a version takes away those
of files that went, then adds those of files that came. A reader in between, or after a process that died
there, misses rows; the next run or compaction catches up. Delta readers and our own are not concerned.

With one publisher at a time no reader sees a row twice. Of two at once, one may add names just as the other
replaces their files: rows are then there twice until the first, which looks at the log again after it has
added names, takes these away; or, if it dies before that, until the next run or compaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from pipeline.store.delta.log import TableLog, last_version, read_log
from pipeline.store.files import DataFolder
from pipeline.store.layout import is_plain_name, plain_name

TURNS = 10
"""Comparisons of the names with the log before the rest is left to the next run or compaction; each further
turn means that another process published meanwhile, or that a file of the last version is lost."""

logger = logging.getLogger(__name__)


def show_last_version(folder: DataFolder, table: str) -> None:
    """Give the files of a table's last version, and no others, names that plain readers find.

    The version is published by now, so names that cannot keep up with other publishers, or that would be of
    lost files, are a warning and no error.
    """
    if not any(_is_shown(folder, table) for _ in range(TURNS)):
        logger.warning(
            "%s/%s is published, but its folder does not show the last version to readers that know no Delta "
            "log, because other processes publish all the time or files are lost: the next run or `compact` "
            "tries again, and `verify` names what is lost.",
            folder.url,
            table,
        )


def _is_shown(folder: DataFolder, table: str) -> bool:
    """Bring the names up to the log; False if it moved meanwhile, so that they must be compared again."""
    log = read_log(folder, table)
    gone, new = plain_changes(log, {entry.name: entry.bytes for entry in folder.list(table)})
    folder.delete(gone)
    if _moved(folder, table, log):
        return False  # before any name of a file that another process has replaced comes back
    with ThreadPoolExecutor(folder.readers, "link") as pool:
        # A file that is gone was replaced and vacuumed meanwhile.
        whole = all(list(pool.map(folder.link_if_there, new.values(), new.keys())))
    # Another process may have published meanwhile, and have ended before these names came.
    return whole and not _moved(folder, table, log)


def _moved(folder: DataFolder, table: str, log: TableLog) -> bool:
    return last_version(folder, table) != (log.versions[-1].number if log.versions else None)


def plain_changes(log: TableLog, found: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Compare the plain names of a table, with their sizes, with its log.

    Returns:
        The names that must go, and the names that must come, each with the file that it is to name.

    """
    wanted = {plain_name(path): path for path in log.live}
    right = {name for name, path in wanted.items() if found.get(name) == log.live[path]}
    gone = [name for name in found if is_plain_name(name) and name not in right]
    return gone, {name: path for name, path in wanted.items() if name not in right}
