"""S3 servers that fail: a proxy with faults in front of the servers of the store's tests."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator

import fsspec
import pytest

from tests.support.buckets import new_bucket
from tests.support.s3_proxy import Faults, serve_proxy

READ_TIMEOUT = 1.5
"""Seconds that clients wait here: shorter than the proxy hangs."""


@pytest.fixture(scope="session", params=["s3", pytest.param("ceph", marks=pytest.mark.s3)])
def faulty_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the proxy listens."""
    behind = request.getfixturevalue(f"{request.param}_endpoint")
    ready, tell = multiprocessing.Pipe(duplex=False)
    spawn = multiprocessing.get_context("spawn")
    proxy = spawn.Process(target=serve_proxy, args=(behind, tell), daemon=True)
    proxy.start()
    assert ready.poll(60), "the proxy did not start"
    yield ready.recv()
    proxy.terminate()
    proxy.join()


@pytest.fixture
def faulty(faulty_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Faults]]:
    """A place in a new bucket behind the proxy, and what tells the proxy what to do."""
    faults = Faults(faulty_endpoint)
    faults.follow()
    # How a user shortens a timeout: fsspec reads this when it is imported, and so do workers.
    patience = {"read_timeout": READ_TIMEOUT, "connect_timeout": READ_TIMEOUT}
    monkeypatch.setenv("FSSPEC_S3", json.dumps({"config_kwargs": patience}))
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": patience})
    yield new_bucket(faulty_endpoint, monkeypatch), faults
    faults.follow()
