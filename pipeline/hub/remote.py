"""Transcoders in a folder on a store (`s3://`, or whatever else fsspec opens), fetched once to this machine.

They are kept under `~/.cache/circuit-sweep/transcoders`, each set in a folder named by the hash of its
content, which is looked at again before use. A set is put together beside that folder, under a lock, and
renamed when it is whole, so nobody sees half of one; and checked file by file where `circuit-sweep train`
left checksums. `s3://bucket/mine@xxh3-128:...` is that content and no other: what workers are given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from xxhash import xxh3_128, xxh3_128_hexdigest

from pipeline.credentials import without_credentials
from pipeline.errors import TranscoderError
from pipeline.hub.contents import fingerprint, is_read
from pipeline.hub.names import is_pattern
from pipeline.untrusted import JSON_BYTES, parse_json

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

CONTENT = re.compile(r"(?P<url>.+)@(?P<content>xxh3-128:[0-9a-f]{32})")

CHECKSUMS = ".training/dictionary.json"
"""File in which `circuit-sweep train` lists the files of a dictionary that is done, with their checksums."""

CLAIM = ".training/training.json"
"""File that says that a training writes there, done or not."""

CHANGES = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created", "updated")
"""Entries of a listing of which one differs when a file was written again; stores have different ones."""

RETRIES = 8
"""Tries of a request to S3 whose connection or answer broke."""

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class RemoteName:
    """A folder with transcoders on a store."""

    url: str
    content: str | None = None
    """Hash of the content that is meant, as of a folder here; None for what is there now."""

    @classmethod
    def named(cls, name: str) -> RemoteName | None:
        """Read a name; None where it is no URL of a store.

        Raises:
            ConfigurationError: the URL holds credentials.
            TranscoderError: it is a pattern.

        """
        if "://" not in name or name.startswith("hf://"):
            return None
        found = CONTENT.fullmatch(name)
        url, content = (name, None) if found is None else (found["url"], found["content"])
        without_credentials("transcoders", url)
        if is_pattern(url):
            raise TranscoderError(
                f"transcoders {url!r}: a pattern chooses among files here or on the Hub: name one folder of "
                "the store, or copy it to this machine."
            )
        return cls(url.rstrip("/"), content)

    def pinned(self, content: str) -> str:
        """Return the name that means this content alone."""
        return f"{self.url}@{content}"

    def fetch(self) -> Path:
        """Return a folder on this machine that holds the set, fetched if it is not there yet.

        Raises:
            TranscoderError: the store cannot be read, holds no whole dictionary there, or another one.

        """
        kept = cache_folder()
        kept.mkdir(parents=True, exist_ok=True)
        own = xxh3_128_hexdigest(self.url.encode())
        with FileLock(kept / f"{own}.lock"):  # so that the workers of a machine fetch once
            if self.content is not None and _is_whole(kept, self.content):
                return kept / _folder(self.content)
            with _explained(self.url):
                return self._fetch(kept, own)

    def _fetch(self, kept: Path, own: str) -> Path:
        listing = Listing.of(self.url)
        seen = kept / f"{listing.digest}.listing"
        content = seen.read_text() if seen.exists() else None
        if content is not None and self.content in (None, content) and _is_whole(kept, content):
            return kept / _folder(content)
        partial = kept / f"{own}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        listing.fetch(partial)
        content = fingerprint(partial)
        if self.content not in (None, content):
            raise TranscoderError(
                f"transcoders {self.url!r} have changed: {content} is there now, and {self.content} is "
                "meant. Put the old files back, or start again into another output."
            )
        if not _is_whole(kept, content):
            partial.rename(kept / _folder(content))
        shutil.rmtree(partial, ignore_errors=True)
        if listing.tells_changes:
            seen.write_text(content)
        return kept / _folder(content)


@dataclass(frozen=True)
class Listing:
    """The files of a set on a store."""

    fs: AbstractFileSystem
    url: str
    root: str
    files: dict[str, dict[str, Any]]
    """What the store says of each file that is read, by its name in the folder."""

    checksums: dict[str, tuple[int, str]]
    """Bytes and checksum of files, where their training wrote them down."""

    @classmethod
    def of(cls, url: str) -> Listing:
        """List a folder.

        Raises:
            TranscoderError: it holds no dictionary, or one whose training is not done.

        """
        import fsspec

        fs, root = fsspec.url_to_fs(url, use_listings_cache=False)
        if hasattr(fs, "retries"):
            fs.retries = RETRIES
        root = root.rstrip("/")
        found = {path.removeprefix(f"{root}/"): entry for path, entry in fs.find(root, detail=True).items()}
        files = {name: entry for name, entry in sorted(found.items()) if is_read(name)}
        if CLAIM in found and CHECKSUMS not in found:
            raise TranscoderError(
                f"transcoders {url!r} are still being trained: `circuit-sweep status {url}` says how far "
                "they are."
            )
        if not files:
            raise TranscoderError(f"transcoders {url!r} not found: no files of any are there: check the URL.")
        checksums = (
            _checksums(fs.cat_file(f"{root}/{CHECKSUMS}", start=0, end=JSON_BYTES), url)
            if CHECKSUMS in found
            else {}
        )
        return cls(fs, url, root, files, checksums)

    @property
    def tells_changes(self) -> bool:
        """True if a file that was written again makes another listing."""
        return all(any(key in entry for key in CHANGES) for entry in self.files.values())

    @property
    def digest(self) -> str:
        """Hash of what the store says."""
        said = [
            [name, entry.get("size"), *(str(entry.get(key)) for key in CHANGES)]
            for name, entry in self.files.items()
        ]
        return xxh3_128_hexdigest(json.dumps([self.url, said]).encode())

    def fetch(self, folder: Path) -> None:
        """Fetch all files.

        Raises:
            TranscoderError: one is not as it was written.

        """
        for name in self.checksums:
            if is_read(name) and name not in self.files:
                raise _not_whole(self.url, f"{name} is gone")
        for name, entry in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(f"{self.root}/{name}", str(path))
            size, checksum = self.checksums.get(name, (entry.get("size"), None))
            if size is not None and path.stat().st_size != size:
                raise _not_whole(self.url, f"{name} has {path.stat().st_size:,} bytes instead of {size:,}")
            if checksum is not None and _checksum(path) != checksum:
                raise _not_whole(self.url, f"{name} is not what was written")


def cache_folder() -> Path:
    """Return the folder of fetched sets, in `XDG_CACHE_HOME`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "circuit-sweep" / "transcoders"


def _folder(content: str) -> str:
    return content.replace(":", "-")


def _is_whole(kept: Path, content: str) -> bool:
    """Tell if a content is kept here; what was changed since it was fetched is thrown away."""
    folder = kept / _folder(content)
    if not folder.is_dir():
        return False
    if fingerprint(folder) == content:
        return True
    shutil.rmtree(folder)
    return False


def _checksums(data: bytes, url: str) -> dict[str, tuple[int, str]]:
    try:
        return {
            str(file["name"]): (int(file["bytes"]), str(file["checksum"]))
            for file in parse_json(data)["files"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise _not_whole(url, f"{CHECKSUMS} cannot be read") from error


def _checksum(path: Path) -> str:
    digest = xxh3_128()
    with path.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            digest.update(block)
    return f"xxh3-128:{digest.hexdigest()}"


def _not_whole(url: str, reason: str) -> TranscoderError:
    return TranscoderError(
        f"transcoders {url!r} are damaged, or being written: {reason}. `circuit-sweep verify {url}` looks at "
        "the files; if a training is at work there, wait for its end."
    )


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what a store's client raises into a sentence."""
    try:
        yield
    except TranscoderError:
        raise
    except Exception as error:  # each store has its own classes, most of them no OSError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TranscoderError(
            f"transcoders {url!r} cannot be fetched ({type(error).__name__}: {reason}): check the URL, the "
            "network, and the credentials in the environment (for S3 AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY)."
        ) from error
