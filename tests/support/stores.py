"""Kinds of stores that a test runs on."""

from __future__ import annotations

import pytest

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


SELDOM_ON_S3 = pytest.mark.parametrize(
    "kind", ["local", pytest.param("s3", marks=pytest.mark.slow)], indirect=True
)
"""For tests that take their time on S3, where quicker ones ask the same of it."""
