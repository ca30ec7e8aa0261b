"""One output folder in each kind of store: the same tests run on a local disk and on an S3 server."""

from __future__ import annotations

import pytest

from pipeline.store.output import Output

CEPH = pytest.param("ceph", marks=pytest.mark.s3)

STORES = ("local", "s3", CEPH)
"""Kinds of stores."""

SELDOM_S3 = ("local", pytest.param("s3", marks=pytest.mark.slow), CEPH)
"""The same for tests that take their time on S3, where quicker ones ask the same of it."""


def place(request: pytest.FixtureRequest) -> str:
    """Return a place for an output in the store that a fixture's parameter names."""
    if request.param == "local":
        return str(request.getfixturevalue("tmp_path") / "out")
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    """A place for an output, in each kind of store."""
    return place(request)


@pytest.fixture
def output(url: str) -> Output:
    """An output that does not exist yet."""
    return Output(url)
