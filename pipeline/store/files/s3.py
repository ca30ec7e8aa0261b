"""A folder on S3 or on a store that speaks its protocol (Ceph, MinIO, R2, ...).

Create-only is one small PUT with `If-None-Match: *`. Stores differ in how they refuse: s3fs raises
FileExistsError for AWS, OSError(EINVAL) for Ceph, and AWS answers 409 while two writers race. So no error
is taken at its word: after any of them the object is looked up, and only an object that is there means
"already exists". A PUT whose answer was lost is tried again by the client and then refused because of
itself: whoever must know compares what is stored (see `commit`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyarrow.fs import AwsStandardS3RetryStrategy
from pyarrow.fs import S3FileSystem as ArrowS3

from pipeline.errors import StoreError
from pipeline.store.files.data_folder import BOOKKEEPING_BYTES, DataFolder, Entry

log = logging.getLogger(__name__)

RETRIES = 8
"""Tries of a request whose connection or answer broke, or that was told to slow down: half a minute or more.
Within each, botocore retries by its own rules (`AWS_RETRY_MODE`, `AWS_MAX_ATTEMPTS`), 500 and 503 among them;
s3fs's own 5 are few for an answer that broke off, which only it retries."""

ARROW_CONNECT_SECONDS = 3.0
"""Wait for the connection of a client that another stands in for."""

PAUSES = (0.1, 0.5, 2.0)
"""Seconds to wait before a create-only PUT that failed without a cause is tried again."""


@dataclass(frozen=True)
class Endpoint:
    """Server of a bucket."""

    url: str | None
    """URL of the server; None for AWS's own."""

    region: str | None
    """None where any will do, or a client finds it."""

    @property
    def is_plain(self) -> bool:
        """True if it is reached without TLS."""
        return self.url is not None and self.url.startswith("http://")

    @property
    def is_here(self) -> bool:
        """True if its address is this machine's own, which no network sees."""
        host = urlsplit(self.url or "").hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")


@cache
def _warn_of_plain_http(url: str) -> None:
    log.warning(
        "%s is reached without TLS: whoever shares the network can read and change all that is sent. Set "
        "AWS_ENDPOINT_URL to an https:// address if the store has one.",
        url,
    )


class S3Folder(DataFolder):
    """A folder in a bucket."""

    readers = 32

    def __init__(self, url: str) -> None:
        # Listings are cached by default, and then another worker's commits stay unseen.
        fs, root = fsspec.url_to_fs(url, use_listings_cache=False)
        fs.retries = RETRIES
        self._arrow: ArrowS3 | None = None
        self._arrow_works = True
        super().__init__(fs, root, url)

    def _read(self, name: str, most: int) -> bytes:
        try:
            return self.fs.cat_file(self.path(name), start=0, end=most + 1)
        except OSError:
            if self.size(name) == 0:  # an object without bytes has no range of them
                return b""
            raise

    def open(self, name: str, block_bytes: int) -> BinaryIO:  # noqa: D102
        with self.explained("read", name):
            return self.fs.open(self.path(name), block_size=block_bytes)

    def size(self, name: str) -> int | None:  # noqa: D102
        with self.explained("look up", name):
            try:
                return self.fs.info(self.path(name), refresh=True)["size"]
            except FileNotFoundError:
                return None

    def refuse_links_outside(self, names: Iterable[str]) -> None:
        """Nothing to refuse: a bucket has no links."""

    def write(self, name: str, data: bytes) -> None:  # noqa: D102 - said in DataFolder
        with self.explained("write", name):
            # Durable and visible to everybody when the answer comes: nothing to sync.
            self.fs.pipe_file(self.path(name), data)

    def create(self, name: str, data: bytes) -> bool:  # noqa: D102
        pauses = iter(PAUSES)
        with self.explained("create", name):
            while True:
                try:
                    self.fs.pipe_file(self.path(name), data, mode="create")
                    return True
                except (OSError, BotoCoreError, ClientError):
                    if self.exists(name):
                        return False
                    if (pause := next(pauses, None)) is None:
                        raise
                    time.sleep(pause)

    def replace(self, name: str, data: bytes) -> None:  # noqa: D102
        # An object is replaced as a whole: readers see the old one or the new one.
        self.write(name, data)

    def link(self, name: str, second: str) -> None:
        """Copy a file within the store: an object has one name."""
        with self.explained("copy", second):
            self.fs.cp_file(self.path(name), self.path(second))

    def exists(self, name: str) -> bool:  # noqa: D102
        return self.size(name) is not None

    def list(self, folder: str) -> Iterator[Entry]:  # noqa: D102
        with self.explained("list", folder):
            try:
                entries = self.fs.ls(self.path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return
        for entry in entries:
            if entry["type"] == "file":
                name = entry["name"].removeprefix(f"{self.root}/")
                yield Entry(name, entry["size"], entry["LastModified"].timestamp())

    def folders(self) -> Iterator[str]:  # noqa: D102
        with self.explained("list", ""):
            try:
                entries = self.fs.ls(self.root, detail=True, refresh=True)
            except FileNotFoundError:
                return
        yield from (e["name"].rpartition("/")[2] for e in entries if e["type"] == "directory")

    def delete(self, names: Iterable[str]) -> None:  # noqa: D102
        with self.explained("delete files in", ""):
            if paths := [self.path(name) for name in names]:
                self.fs.rm(paths)

    def read_many(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Read by Arrow's client, and by s3fs what that does not find or cannot read.

        Arrow takes two requests a file, but half the time and a quarter of the CPU. s3fs knows more ways to
        reach a store (proxies, profiles, private certificates, endpoints with a path), retries more
        patiently, and its errors are the ones explained: after Arrow's first failure it reads the rest.
        """
        self._arrow = self._arrow_client() if self._arrow_works else None
        return super().read_many(names)

    def _read_batch(self, names: Sequence[str]) -> list[bytes | None]:
        found = ((name, self._read_by_arrow(name)) for name in names)
        return [self.read_if_there(name) if data is None else data for name, data in found]

    def _read_by_arrow(self, name: str) -> bytes | None:
        if (arrow := self._arrow) is None:
            return None
        try:
            with arrow.open_input_file(self.path(name)) as file:
                # One that is too large is left to `read`, which refuses it.
                return file.read() if file.size() <= BOOKKEEPING_BYTES else None
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException):
            self._arrow, self._arrow_works = None, False
            return None

    def _arrow_client(self) -> ArrowS3 | None:
        endpoint = self._endpoint
        url = urlsplit(endpoint.url or "")
        if url.path.strip("/"):
            return None
        try:
            return ArrowS3(
                access_key=self.fs.key,
                secret_key=self.fs.secret,
                session_token=self.fs.token,
                anonymous=self.fs.anon,
                region=endpoint.region,
                scheme="http" if endpoint.is_plain else "https",
                endpoint_override=url.netloc or None,
                connect_timeout=ARROW_CONNECT_SECONDS,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=2),
            )
        except (ValueError, OSError, pa.ArrowException):  # ways to log in that it does not know
            return None

    @property
    def _endpoint(self) -> Endpoint:
        """Settings that botocore resolved, and that clients which read the environment themselves miss."""
        self.fs.connect()
        url, region = self.fs.s3.meta.endpoint_url, self.fs.s3.meta.region_name
        endpoint = Endpoint(
            url=None if url.endswith(".amazonaws.com") else url,
            region=None if region == "aws-global" else region,
        )
        if endpoint.is_plain and not endpoint.is_here:
            _warn_of_plain_http(url)
        return endpoint

    def delta_options(self) -> dict[str, str]:  # noqa: D102
        endpoint = self._endpoint
        options = {
            "aws_endpoint": endpoint.url,
            "aws_allow_http": "true" if endpoint.is_plain else None,
            "aws_region": endpoint.region,
            "aws_access_key_id": self.fs.key,
            "aws_secret_access_key": self.fs.secret,
            "aws_session_token": self.fs.token,
            "aws_conditional_put": "etag",
        }
        return {key: value for key, value in options.items() if value}

    @contextmanager
    def explained(self, action: str, name: str) -> Iterator[None]:  # noqa: D102
        try:
            with super().explained(action, name):
                yield
        except (BotoCoreError, ClientError) as error:
            raise StoreError(self._explain(action, name, error)) from error
