"""A table for readers that know no log: pandas, a DuckDB or Polars glob, pyarrow and Spark read its folder.

All files of a table lie in its `_data` folder, where these readers do not look. Those that the last version
holds have a second name right in the table's folder: on a local disk a hard link, which takes no room, on S3
a copy, which takes as much again. Second names follow the log: whoever published a version takes away those
of files that went, then adds those of files that came. A reader in between, or after a process that died
there, misses rows and sees none twice; the next run or compaction catches up. Delta readers and our own are
not concerned.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from pipeline.store.delta.log import TableLog, last_version, read_log
from pipeline.store.files import DataFolder
from pipeline.store.layout import is_plain_name, plain_name


def show_last_version(folder: DataFolder, table: str) -> None:
    """Give the files of a table's last version, and no others, names that plain readers find."""
    while True:
        log = read_log(folder, table)
        gone, new = plain_changes(log, {entry.name: entry.bytes for entry in folder.list(table)})
        folder.delete(gone)
        with ThreadPoolExecutor(folder.readers, "link") as pool:
            list(pool.map(folder.link, new.values(), new.keys()))
        # Another process may have published meanwhile, and have ended before these names came.
        if not log.versions or last_version(folder, table) == log.versions[-1].number:
            return


def plain_changes(log: TableLog, found: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Compare the plain names of a table, with their sizes, with its log.

    Returns: the names that must go, and the names that must come, each with the file that it is to name.

    """
    wanted = {plain_name(path): path for path in log.live}
    right = {name for name, path in wanted.items() if found.get(name) == log.live[path]}
    gone = [name for name in found if is_plain_name(name) and name not in right]
    return gone, {name: path for name, path in wanted.items() if name not in right}
