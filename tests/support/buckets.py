"""New buckets on whatever S3 server there is."""

from __future__ import annotations

import uuid
from functools import cache
from typing import Any

import boto3
import fsspec
import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}

_reached: str | None = None
"""The server that clients in this process speak to."""


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a new bucket; how to reach it is said in the environment, as a user would."""
    reach(endpoint, monkeypatch)
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    _maker(endpoint).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/runs/one"


def reach(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say in the environment, for one test, how a server is reached."""
    global _reached
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    if endpoint != _reached:  # to make a client takes a second
        forget_clients()
        _reached = endpoint


def forget_clients() -> None:
    """Have clients made anew, because the environment says something else now."""
    global _reached
    _reached = None
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@cache
def _maker(endpoint: str) -> Any:
    return boto3.client("s3", endpoint_url=endpoint)
