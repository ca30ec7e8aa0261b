"""A folder on local disk.

Create-only is a hard link of a finished temporary file: atomic, exclusive, and never half a file, on every
POSIX file system, NFS among them. A file is durable once it and the entry in its folder are synced.

The folder itself may be a link, and links within it are followed; one that leads out of it is refused, since
whoever wrote the output would otherwise choose which files of this machine are read as its rows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import DamageError, StoreError
from pipeline.store.files.data_folder import DataFolder, Entry
from pipeline.store.layout import unfinished_name
from pipeline.untrusted import open_regular

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""Errors of file systems without hard links: FAT, exFAT, some shared folders of virtual machines."""


class LocalFolder(DataFolder):
    """A folder on local disk, or on a disk that all workers mount."""

    def __init__(self, path: str) -> None:
        root = Path(path).expanduser().absolute().as_posix()
        super().__init__(LocalFileSystem(), root, root)
        self._inside: set[str] = set()
        """Folders that were found to lie in this one."""

    def _own(self, name: str) -> Path:
        """The path of a file whose folder lies in this one.

        Raises:
            DamageError: a link leads out.

        """
        path = Path(self.path(name))
        if (parent := str(path.parent)) not in self._inside:
            self._refuse_outside(parent)
            self._inside.add(parent)
        return path

    def _refuse_outside(self, path: str) -> None:
        real, root = os.path.realpath(path), os.path.realpath(self.root)
        if os.path.commonpath([real, root]) != root:
            raise DamageError(
                f"{path} leads to {real}, outside of {self.root}, and an output is read from its own folder "
                "alone: replace the link by what it points to, or leave this output be."
            )

    def _read(self, name: str, most: int) -> bytes:
        with self.open(name, 0) as file:
            return file.read(most + 1)

    def open(self, name: str, block_bytes: int) -> BinaryIO:  # noqa: D102 - the system reads ahead
        path = self._own(name)
        with self.explained("read", name):
            try:
                return open_regular(path, follow=False)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                self._refuse_outside(str(path))
                return open_regular(path)

    def size(self, name: str) -> int | None:  # noqa: D102
        with self.explained("look up", name), suppress(FileNotFoundError, NotADirectoryError):
            return self._own(name).stat().st_size
        return None

    def refuse_links_outside(self, names: Iterable[str]) -> None:  # noqa: D102
        for folder, inside in groupby(sorted(names), lambda name: name.rpartition("/")[0]):
            wanted = set(inside)
            self._own(f"{folder}/file")
            with self.explained("list", folder), suppress(FileNotFoundError):
                # What is a plain file, the listing says without a look at each.
                odd = [e.name for e in os.scandir(self.path(folder)) if not e.is_file(follow_symlinks=False)]
                for name in wanted.intersection(f"{folder}/{name}" for name in odd):
                    self._refuse_outside(self.path(name))
                    if os.path.exists(self.path(name)) and not os.path.isfile(self.path(name)):
                        raise DamageError(f"{self.path(name)} is no regular file, as a file of rows must be.")

    def write(self, name: str, data: bytes) -> None:  # noqa: D102 - said in DataFolder
        path = self._own(name)
        with self.explained("write", name):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_synced(path, data)
            except OSError as error:
                # On a full disk half a file would keep the room that the next one needs.
                if not isinstance(error, FileExistsError):
                    path.unlink(missing_ok=True)
                raise
            # Or a power cut may leave the file's bytes without a name.
            _sync_folder(path.parent)

    def create(self, name: str, data: bytes) -> bool:  # noqa: D102
        path = self._own(name)
        unfinished = Path(self.path(unfinished_name(name)))
        with self.explained("create", name):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_synced(unfinished, data)
                # A rename would replace the winner's file; a link refuses where there is one.
                return _link(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)

    def replace(self, name: str, data: bytes) -> None:  # noqa: D102
        path = self._own(name)
        unfinished = Path(self.path(unfinished_name(name)))
        with self.explained("write", name):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_synced(unfinished, data)
                # The folder is not synced: after a power cut the old file may be there again, as a whole.
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def link(self, name: str, second: str) -> None:  # noqa: D102
        with self.explained("link", second), suppress(FileExistsError):
            os.link(self.path(name), self.path(second))

    def exists(self, name: str) -> bool:  # noqa: D102
        with self.explained("look for", name), suppress(FileNotFoundError, NotADirectoryError):
            os.stat(self.path(name))  # unlike `os.path.exists`, it says that this user may not look
            self._own(name)
            return True
        return False

    def list(self, folder: str) -> Iterator[Entry]:  # noqa: D102
        self._own(f"{folder}/file")
        with self.explained("list", folder):
            try:
                entries = list(os.scandir(self.path(folder)))
            except FileNotFoundError:
                return
            for entry in entries:
                try:
                    # Devices and pipes are listed too: who reads one is told that it is no file.
                    status = None if entry.is_dir() else entry.stat()
                except FileNotFoundError:  # someone's temporary file, which has its final name by now
                    continue
                if status is not None:
                    yield Entry(f"{folder}/{entry.name}", status.st_size, status.st_mtime)

    def folders(self) -> Iterator[str]:  # noqa: D102
        with self.explained("list", ""), suppress(FileNotFoundError):
            yield from [entry.name for entry in os.scandir(self.root) if entry.is_dir()]

    def delete(self, names: Iterable[str]) -> None:  # noqa: D102
        for name in names:
            with self.explained("delete", name):
                self._own(name).unlink(missing_ok=True)

    def delta_options(self) -> dict[str, str]:  # noqa: D102
        return {}


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link(finished: Path, path: Path) -> bool:
    try:
        os.link(finished, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        raise StoreError(
            f"{path.parent} lies on a file system without hard links, which make commits exactly-once. "
            "Choose an output on another disk, or on S3."
        ) from error
    _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
