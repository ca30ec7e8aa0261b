"""The log of a published table: which files each of its versions holds, read and written as plain JSON.

Reading it here rather than through deltalake gives what no library call does in one pass: every file that
any version ever added (so that publishing never adds one twice), the files that count at a version, and when
each version came. Writing a version is the store's own create-only file: one that removes some files and adds
others for them is not offered by deltalake, and create-only is all that the protocol asks for.

A file a version, read side by side: a year of nights is one listing and 365 small reads a table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import unquote
from uuid import uuid4

from pipeline.errors import DamageError
from pipeline.store.files import DataFolder
from pipeline.store.layout import checked_data_path, log_file, log_folder, path_in_table, version_of
from pipeline.untrusted import parse_json


@dataclass(frozen=True)
class LogVersion:
    """Changes of one version of a table; paths are relative to the output."""

    number: int
    """Number of the version, from 0."""

    written: datetime
    """Time of publishing, UTC, by the publisher's clock."""

    added: dict[str, int]
    """Files that came, with their sizes."""

    removed: tuple[str, ...]
    """Files that went."""

    withdrawn: frozenset[str] = frozenset()
    """Those of them whose rows went too, and are in no other file."""


@dataclass(frozen=True)
class TableLog:
    """A table's versions, oldest first; none if it was never published."""

    versions: tuple[LogVersion, ...]

    def until(self, moment: datetime) -> TableLog:
        """Return the log as it was at a moment."""
        return TableLog(tuple(version for version in self.versions if version.written <= moment))

    @cached_property
    def added(self) -> set[str]:
        """Every file that any version ever added."""
        return {path for version in self.versions for path in version.added}

    @cached_property
    def withdrawn(self) -> set[str]:
        """Files whose rows no longer count, in these files or in those of a compaction."""
        withdrawn: set[str] = set()
        for version in self.versions:
            withdrawn |= version.withdrawn
            withdrawn.difference_update(version.added)
        return withdrawn

    @property
    def published(self) -> set[str]:
        """Files whose rows count, in these files or in those of a compaction."""
        return self.added - self.withdrawn

    @cached_property
    def live(self) -> dict[str, int]:
        """The files that count at the last version, with their sizes."""
        live: dict[str, int] = {}
        for version in self.versions:
            for path in version.removed:
                live.pop(path, None)
            live |= version.added
        return live


def read_log(folder: DataFolder, table: str) -> TableLog:
    """Read every version of a table.

    Raises:
        DamageError: a version is missing or cannot be read.

    """
    names = sorted(_version_files(folder, table))
    if names and version_of(names[-1]) != len(names) - 1:
        raise DamageError(
            f"{folder.url}/{log_folder(table)} lacks versions: there are {len(names)} files, the last is "
            f"{version_of(names[-1])}. Copy the whole folder from where it is complete."
        )
    files = zip(names, folder.read_many(names), strict=True)
    # What was listed is there: reading it once more finds it, or says why not.
    data = ((name, folder.read(name) if data is None else data) for name, data in files)
    return TableLog(tuple(_version(folder, table, name, content) for name, content in data))


def last_version(folder: DataFolder, table: str) -> int | None:
    """Return the number of a table's last version, by a listing alone; None if it was never published."""
    return max(map(version_of, _version_files(folder, table)), default=None)


def _version_files(folder: DataFolder, table: str) -> list[str]:
    return [e.name for e in folder.list(log_folder(table)) if version_of(e.name) is not None]


def replace_files(
    folder: DataFolder,
    table: str,
    removed: Sequence[str],
    added: Iterable[dict],
    operation: str,
    changes_rows: bool = False,
) -> bool:
    """Publish a version that holds the same rows in other files; False if not all of `removed` still count.

    The log says that no row changed (`dataChange`), so whoever follows the table is not sent its rows again.

    Args:
        folder: the output.
        table: the table.
        removed: files that go, relative to the output.
        added: Delta's add actions for the files that come, with paths relative to the table.
        operation: name of the operation in the log.
        changes_rows: True where rows go with the files.

    Raises:
        DamageError: the table's log is damaged.
        StoreError: the log cannot be read or written.

    """
    added = list(added)
    information = {"engineInfo": "circuit-sweep", "attempt": uuid4().hex}
    while True:
        # Another publisher may have taken this version's number: what is left to replace is looked at again.
        log = read_log(folder, table)
        if any(path not in log.live for path in removed):
            return False
        now = int(datetime.now(UTC).timestamp() * 1000)
        actions = [
            {"commitInfo": {**information, "timestamp": now, "operation": operation}},
            *({"remove": _remove(path, log.live[path], now, changes_rows)} for path in removed),
            *({"add": action | {"modificationTime": now, "dataChange": changes_rows}} for action in added),
        ]
        name = log_file(table, len(log.versions))
        data = "\n".join(map(json.dumps, actions)).encode()
        # A create whose answer was lost on the way is refused by its own first try.
        if folder.create(name, data) or folder.read(name) == data:
            return True


def _remove(path: str, size: int, now: int, changes_rows: bool) -> dict:
    return {
        "path": path_in_table(path),
        "deletionTimestamp": now,
        "dataChange": changes_rows,
        "extendedFileMetadata": True,  # says that the two fields below are filled in
        "partitionValues": {},
        "size": size,
    }


def _version(folder: DataFolder, table: str, name: str, data: bytes) -> LogVersion:
    try:
        actions = [parse_json(line) for line in data.splitlines()]
        adds = [action["add"] for action in actions if "add" in action]
        removes = [action["remove"] for action in actions if "remove" in action]
        (written,) = [action["commitInfo"]["timestamp"] for action in actions if "commitInfo" in action]
        return LogVersion(
            number=version_of(name),
            written=datetime.fromtimestamp(written / 1000, UTC),
            added={_path(table, add): _size(add) for add in adds},
            removed=tuple(_path(table, remove) for remove in removes),
            withdrawn=frozenset(_path(table, remove) for remove in removes if remove.get("dataChange", True)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise DamageError(
            f"{folder.url}/{name} is damaged: {error}. The rows are safe: restore this file, or, if the "
            "output was never vacuumed, delete the table's `_delta_log` folder and run the sweep again, "
            "which publishes all of them as one new version."
        ) from error


def _path(table: str, action: dict) -> str:
    return checked_data_path(f"{table}/{unquote(action['path'])}")


def _size(action: dict) -> int:
    if not isinstance(size := action["size"], int):
        raise ValueError(f"the size of {action['path']} is no number of bytes")
    return size
