"""Outputs to damage: on a local disk and on an S3 server, like the store's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.store.output import Output
from tests.support.filled import fill

SERVERS = (pytest.param("s3", marks=pytest.mark.faults), pytest.param("ceph", marks=pytest.mark.s3))


@pytest.fixture(params=["local", *SERVERS])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    """Three shards on each kind of store; on a server they take their time."""
    return fill_store(request, tmp_path)


@pytest.fixture(params=["local", "s3", SERVERS[1]])
def everywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    """The same, on the everyday server in the everyday tests too."""
    return fill_store(request, tmp_path)


def fill_store(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    if request.param == "local":
        return request.getfixturevalue("local")
    return fill(Output(request.getfixturevalue(f"{request.param}_url")))


@pytest.fixture(scope="session")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards on a local disk, of which tests get copies."""
    folder = tmp_path_factory.mktemp("filled") / "out"
    fill(Output(folder))
    return folder


@pytest.fixture
def local(filled_once: Path, tmp_path: Path) -> Output:
    """Three shards on a local disk."""
    return Output(shutil.copytree(filled_once, tmp_path / "out"))


@pytest.fixture
def overwrite() -> Callable[[Output, str, bytes], None]:
    """Return what puts other bytes in a file's place."""

    def put(output: Output, name: str, data: bytes) -> None:
        output.folder.fs.pipe_file(output.folder.path(name), data)

    return put
