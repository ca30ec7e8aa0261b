"""One output folder in each kind of store: the same tests run on a local disk and on an S3 server."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Iterator

import boto3
import fsspec
import pytest

from pipeline.store import Output
from tests.store.s3_server import serve


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where an S3 server listens."""
    ready, tell = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(tell,), daemon=True)
    server.start()
    assert ready.poll(60), "the S3 server did not start"
    yield ready.recv()
    server.terminate()
    server.join()


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket on the server of every day."""
    return new_bucket(s3_endpoint, monkeypatch)


@pytest.fixture
def ceph_url(ceph_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket on Ceph."""
    return new_bucket(ceph_endpoint, monkeypatch)


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a new bucket; how to reach it is said in the environment, as a user would."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/runs/one"


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
