"""Outputs to ask: on a local disk and on an S3 server, like the store's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import Results
from pipeline.store.output import Output
from tests.support.buckets import reach
from tests.support.nights import night


@pytest.fixture(params=["local", "s3"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kind of store, which can be reached."""
    if request.param == "s3":
        reach(request.getfixturevalue("s3_endpoint"), monkeypatch)
    return request.param


@pytest.fixture
def output(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    """An output that does not exist yet."""
    return Output(tmp_path / "out" if kind == "local" else request.getfixturevalue("s3_url"))


@pytest.fixture
def make_night() -> Callable[[Output, range], None]:
    return night


def write_two_nights(output: Output) -> Output:
    """Three prompts of a first night, then two of a second: versions 0 and 1."""
    night(output, range(3))
    night(output, range(3, 5))
    return output


@pytest.fixture
def growing(output: Output) -> Output:
    """Two nights, to which a test may add."""
    return write_two_nights(output)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where two nights lie by kind of store, once they are written; on S3 that takes seconds."""
    return {"local": write_two_nights(Output(tmp_path_factory.mktemp("nights") / "out")).url}


@pytest.fixture
def two_nights(kind: str, written: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Output]:
    """Two nights, which are only read."""
    if kind not in written:
        written[kind] = write_two_nights(Output(request.getfixturevalue("s3_url"))).url
    output = Output(written[kind])
    yield output
    assert list(Results(output).versions()) == [0, 1], "this test writes: it needs an output of its own"
