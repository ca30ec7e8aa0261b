"""Outputs to ask: on a local disk and on an S3 server, like the store's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.store import Output, graph_tables, join_tables, shard_id
from tests.store.conftest import s3_endpoint, s3_url
from tests.store.random_graphs import random_prompt

__all__ = ["s3_endpoint", "s3_url"]

RUN_KEY = -7


def night(output: Output, seeds: range) -> None:
    """Commit and publish one shard of prompts."""
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    prompts = [random_prompt(seed, carried={"family": f"f{seed % 2}"}) for seed in seeds]
    rows = join_tables(graph_tables(prompt, output.carried) for prompt in prompts)
    assert output.commit(shard_id([prompt.prompt_key for prompt in prompts], RUN_KEY), rows)
    output.publish(RUN_KEY)


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    """An output that does not exist yet."""
    return Output(tmp_path / "out" if request.param == "local" else request.getfixturevalue("s3_url"))


@pytest.fixture
def make_night() -> Callable[[Output, range], None]:
    return night


@pytest.fixture
def two_nights(output: Output) -> Output:
    """Three prompts of a first night, then two of a second: versions 0 and 1."""
    night(output, range(3))
    night(output, range(3, 5))
    return output
