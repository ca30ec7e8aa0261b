"""One output folder in each kind of store: the same tests run on a local disk and on an S3 server."""

from __future__ import annotations

import pytest

from pipeline.store import Output


@pytest.fixture(params=["local", "s3", pytest.param("ceph", marks=pytest.mark.s3)])
def url(request: pytest.FixtureRequest, tmp_path) -> str:
    """A place for an output, in each kind of store."""
    if request.param == "local":
        return str(tmp_path / "out")
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def output(url: str) -> Output:
    """An output that does not exist yet."""
    return Output(url)
