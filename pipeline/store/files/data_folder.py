"""The one seam to the file system: a folder of immutable files, on local disk or on S3.

Everything above speaks of names relative to the folder and of three ways to write: `write` (durable once
it returns), `create` (only if nothing has that name) and `delete`. fsspec finds the store and its
credentials (environment, profile, fsspec's own configuration); nothing of them is ever stored here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from fsspec import AbstractFileSystem

from pipeline.errors import DamageError, StoreError

BOOKKEEPING_BYTES = 256 << 20
"""Largest file that is read without a size of its own: the log of a version with a million files has less."""

BATCH = 32
"""Small files that a thread reads before it hands them over; one by one, that takes longer than reading."""


@dataclass(frozen=True)
class Entry:
    """A file in a listing."""

    name: str
    """Path relative to the folder, with `/` between its parts."""

    bytes: int
    """Size of the file."""

    modified: float
    """Time of writing, in seconds since 1970; some stores round to whole seconds."""


class DataFolder(ABC):
    """A folder whose files are written once and never changed."""

    readers = 4
    """Small files read at a time."""

    def __init__(self, fs: AbstractFileSystem, root: str, url: str) -> None:
        self.fs = fs
        self.root = root.rstrip("/") or "/"
        self.url = url.rstrip("/") or "/"

    def path(self, name: str) -> str:
        """Return the path of a file in fsspec's spelling."""
        return f"{self.root}/{name}"

    def read(self, name: str, most: int = BOOKKEEPING_BYTES) -> bytes:
        """Read a file.

        Raises:
            DamageError: it has more than `most` bytes, or is none of the folder's own files.
            StoreError: it does not exist or cannot be read.

        """
        with self.explained("read", name):
            data = self._read(name, most)
        if len(data) > most:
            raise DamageError(
                f"{self.url}/{name} has more than the {most:,} bytes that it may have: it is not what was "
                "written there."
            )
        return data

    @abstractmethod
    def _read(self, name: str, most: int) -> bytes:
        """All bytes of a file, or more than `most` of them."""

    @abstractmethod
    def open(self, name: str, block_bytes: int) -> BinaryIO:
        """Open a file, which is read in blocks of so many bytes."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Size of a file, past any cache; None if there is none."""

    @abstractmethod
    def refuse_links_outside(self, names: Iterable[str]) -> None:
        """Refuse files that an engine is about to read by their paths, where a link leads out of the folder.

        Raises:
            DamageError: it leads out, or to something that is no regular file.

        """

    def read_if_there(self, name: str) -> bytes | None:
        """Read a file; None if it does not exist (any more)."""
        try:
            # Not asked for first: between the question and the reading it may go.
            return self.read(name)
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def read_many(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Read small files, yielded in the order of `names`; None for one that does not exist (any more).

        Many are read at a time, and `readers` times `BATCH` of them are in memory.
        """
        with ThreadPoolExecutor(self.readers, "small-files") as pool:
            for window in _parts(names, self.readers * BATCH):
                batches = _parts(window, -(-len(window) // self.readers))
                yield from chain.from_iterable(pool.map(self._read_batch, batches))

    def _read_batch(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.read_if_there(name) for name in names]

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file; when this returns, a power cut no longer loses it."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless one has that name; return True if it did. Never leaves half a file."""

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Write a small file, new or over the one of that name; readers see one or the other, whole."""

    @abstractmethod
    def link(self, name: str, second: str) -> None:
        """Give a file that never changes a second name, unless it has it already."""

    def link_if_there(self, name: str, second: str) -> bool:
        """Give a file a second name; False if there is no such file (any more)."""
        try:
            self.link(name, second)
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        return True

    @abstractmethod
    def exists(self, name: str) -> bool:
        """True if the file is there now, past any cache."""

    @abstractmethod
    def list(self, folder: str) -> Iterator[Entry]:
        """Yield the files right under a folder; none if there is no such folder."""

    @abstractmethod
    def folders(self) -> Iterator[str]:
        """Yield the names of the folders right under this one."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Delete files; one that is gone already is no error."""

    @abstractmethod
    def delta_options(self) -> dict[str, str]:
        """Return the options with which deltalake reaches the same store."""

    @contextmanager
    def explained(self, action: str, name: str) -> Iterator[None]:
        """Turn an error of the file system into a StoreError that names the file and says what to check."""
        try:
            yield
        except OSError as error:
            raise StoreError(self._explain(action, name, error)) from error

    def _explain(self, action: str, name: str, error: Exception) -> str:
        path = f"{self.url}/{name}".rstrip("/")
        return f"cannot {action} {path}: {error}. {advice(action, error)}"


WRITING = ("write", "create")
"""Actions that need a folder of their own, which is made if it can be."""


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


def advice(action: str, error: Exception) -> str:
    """Return what a user should do about an error of the file system."""
    match error:
        case FileNotFoundError() if action in WRITING:
            return "No folder can be made there: choose another output."
        case PermissionError():
            return "Give this user (or these credentials) the right to write there, or choose another output."
        case FileNotFoundError():
            return "It was deleted or never written: choose an output that exists, or start the sweep again."
        case NotADirectoryError() | FileExistsError() | IsADirectoryError():
            return "A file stands where a folder is needed: move it away or choose another output."
        case _:
            return "Check the path, the free space and the connection, then start the sweep again."
