"""Outputs to damage: on a local disk and on an S3 server, like the store's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from tests.support.random_graphs import random_prompt

RUN_KEY = -7


def commit(output: Output, seeds: range) -> str:
    """Commit a shard of prompts and a failure, as a sweep does; return its id."""
    prompts = [random_prompt(seed, carried={"family": f"f{seed}"}) for seed in seeds]
    rows = [graph_tables(prompt, output.carried) for prompt in prompts]
    failed = FailedPrompt(seeds[0], f"bad-{seeds[0]}", RUN_KEY, "", "tokenize", "PromptError", "empty")
    rows.append(failure_tables(failed, output.carried))
    shard = shard_id([*(prompt.prompt_key for prompt in prompts), seeds[0]], RUN_KEY)
    assert output.commit(shard, join_tables(rows))
    return shard


def fill(output: Output) -> Output:
    """Three shards of two prompts and a failure, of which two are published."""
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    for number in range(2):
        commit(output, range(10 * number, 10 * number + 2))
    output.publish(RUN_KEY)
    commit(output, range(20, 22))
    return output


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
