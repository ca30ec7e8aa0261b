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

from fsspec import AbstractFileSystem

from pipeline.errors import StoreError

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
        """The path of a file as fsspec spells it."""
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        with self.explained("read", name):
            return self.fs.cat_file(self.path(name))

    def read_if_there(self, name: str) -> bytes | None:
        """All bytes of a file; None if there is none (any more)."""
        try:
            return self.read(name)
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def read_many(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """All bytes of small files, in the order of their names; None of those that are not there (any more).

        Many are read at a time; `readers` times `BATCH` are in memory.
        """
        with ThreadPoolExecutor(self.readers, "small-files") as pool:
            for window in _parts(names, self.readers * BATCH):
                batches = _parts(window, -(-len(window) // self.readers))
                yield from chain.from_iterable(pool.map(self._read_batch, batches))

    def _read_batch(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.read_if_there(name) for name in names]

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Writes a file; when this returns, a power cut no longer loses it."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Writes a small file unless one has that name, and says whether it did; never leaves half a file."""

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Writes a small file, new or instead of the one of that name; readers see either as a whole."""

    @abstractmethod
    def link(self, name: str, second: str) -> None:
        """Give a file that never changes a second name; no matter if it has it already."""

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
        """The files right under a folder; none if there is no such folder."""

    @abstractmethod
    def folders(self) -> Iterator[str]:
        """The names of the folders right under this one."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Removes files; those that are gone already are no matter."""

    @abstractmethod
    def delta_options(self) -> dict[str, str]:
        """Options with which deltalake reaches the same store."""

    @contextmanager
    def explained(self, action: str, name: str) -> Iterator[None]:
        """Turns what a file system raises into an error that names the file and what to look at."""
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
    """Advice for an error of a file system."""
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
