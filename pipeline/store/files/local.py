"""A folder on local disk.

Create-only is a hard link of a finished temporary file: atomic, exclusive, and never half a file, on every
POSIX file system, NFS among them. A file is durable once it and the entry in its folder are synced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import StoreError
from pipeline.store.files.data_folder import DataFolder, Entry
from pipeline.store.layout import unfinished_name

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""Errors of file systems without hard links: FAT, exFAT, some shared folders of virtual machines."""


class LocalFolder(DataFolder):
    """A folder on local disk, or on a disk that all workers mount."""

    def __init__(self, path: str) -> None:
        root = Path(path).expanduser().absolute().as_posix()
        super().__init__(LocalFileSystem(), root, root)

    def write(self, name: str, data: bytes) -> None:  # noqa: D102 - said in DataFolder
        path = Path(self.path(name))
        with self.explained("write", name):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(path, data)
            # Or a power cut may leave the file's bytes without a name.
            _sync_folder(path.parent)

    def create(self, name: str, data: bytes) -> bool:  # noqa: D102
        path = Path(self.path(name))
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
        path = Path(self.path(name))
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
            return True
        return False

    def list(self, folder: str) -> Iterator[Entry]:  # noqa: D102
        with self.explained("list", folder):
            try:
                entries = list(os.scandir(self.path(folder)))
            except FileNotFoundError:
                return
            for entry in entries:
                try:
                    status = entry.stat() if entry.is_file() else None
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
                Path(self.path(name)).unlink(missing_ok=True)

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
