"""Transcoders in a folder on a store: fetched once, by content, whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import ConfigurationError, TranscoderError
from pipeline.hub.contents import fingerprint
from pipeline.hub.pinning import pin
from pipeline.hub.remote import Listing, RemoteName, cache_folder
from pipeline.transcoders import load_transcoders
from tests.support.tiny_model import make_transcoders


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    make_transcoders(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest, local: Path) -> Iterator[str]:
    url = "memory://sets/mine" if request.param == "memory" else request.getfixturevalue("s3_url")
    upload(local, url)
    yield url
    if request.param == "memory":
        fsspec.filesystem("memory").rm("/sets", recursive=True)


def upload(folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            write(url, path.relative_to(folder).as_posix(), path.read_bytes())


def write(url: str, name: str, data: bytes) -> None:
    fs, root = fsspec.url_to_fs(url)
    fs.pipe_file(f"{root.rstrip('/')}/{name}", data)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sets that are fetched from now on."""
    fetched: list[str] = []
    original = Listing.fetch
    monkeypatch.setattr(
        Listing, "fetch", lambda self, folder: (fetched.append(self.url), original(self, folder))[1]
    )
    return fetched


def test_it_is_what_a_folder_here_is_and_is_fetched_once(
    url: str, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = counted(monkeypatch)
    pinned = pin(url, "transcoders")
    assert pinned.fingerprint == pin(str(local), "transcoders").fingerprint, "one set, one key of a run"
    assert pinned.name == f"{url}@{pinned.fingerprint['content']}"
    here, there = load_transcoders(str(local)), load_transcoders(url)
    assert [one.encoder.tolist() for one in here.layers] == [one.encoder.tolist() for one in there.layers]
    assert pin(pinned.name, "transcoders") == pinned
    assert fetched == [url]


def test_what_was_written_again_is_fetched_again_and_the_content_that_was_meant_is_kept(
    url: str, local: Path, cache: Path
) -> None:
    before = pin(url, "transcoders")
    config = (local / "config.yaml").read_text()
    write(url, "config.yaml", (config + "# other\n").encode())
    after = pin(url, "transcoders")
    assert after.fingerprint != before.fingerprint
    assert pin(before.name, "transcoders") == before, "kept here"
    kept = RemoteName.named(before.name).fetch()
    for path in sorted(kept.rglob("*"), reverse=True):
        path.unlink()
    with pytest.raises(TranscoderError, match="have changed: xxh3-128"):
        pin(before.name, "transcoders")


def test_a_kept_set_that_was_damaged_is_fetched_anew(url: str) -> None:
    pinned = pin(url, "transcoders")
    (kept,) = (path for path in pinned.folder.glob("*.safetensors") if "0" in path.name)
    data = bytearray(kept.read_bytes())
    data[-2] ^= 1
    kept.write_bytes(data)
    assert pin(pinned.name, "transcoders") == pinned
    assert fingerprint(pinned.folder) == pinned.fingerprint["content"]


def test_names_that_lead_elsewhere_are_left_alone(url: str, tmp_path: Path) -> None:
    for name in ("../evil.json", "/evil.json", "a/../../evil.json", ".git/evil.json", "notes.md"):
        write(url, name, b"{}")
    folder = pin(url, "transcoders").folder
    assert not [path for path in folder.rglob("*") if path.name in ("evil.json", "notes.md")]
    assert not list(tmp_path.rglob("evil.json"))


def fetch_and_die(url: str, after: int) -> None:
    """Fetch, and be killed after some files."""
    kind, left = type(fsspec.url_to_fs(url)[0]), [after]
    original = kind.get_file

    def get(self: object, path: str, *rest: object) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        original(self, path, *rest)

    kind.get_file = get
    RemoteName(url).fetch()


def test_a_process_that_is_killed_leaves_no_half(local: Path, cache: Path) -> None:
    url = f"file://{local}"
    for after in (0, 1, 2):
        process = multiprocessing.get_context("spawn").Process(target=fetch_and_die, args=(url, after))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        assert not list(cache.glob("xxh3*"))
    assert load_transcoders(url).n_layers == load_transcoders(str(local)).n_layers
    assert not list(cache.glob("*.partial"))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("memory://nowhere/at/all", TranscoderError, "no files of any are there"),
        ("memory://sets/layer_{layer}", TranscoderError, "a pattern chooses among files here"),
        ("strange://sets/mine", TranscoderError, "cannot be fetched .*strange"),
        ("s3://user:pw@bucket/mine", ConfigurationError, "must not hold credentials"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pin(name, "transcoders")
