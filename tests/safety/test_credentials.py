"""A canary secret, given in every way that credentials are given, and looked for in all that comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from pipeline.credentials import holds_credentials
from pipeline.errors import ConfigurationError, StoreError
from pipeline.store.output import Output, open_folder
from pipeline.submission.address import head_address
from pipeline.sweep.config import SweepConfig
from tests.support.buckets import forget_clients, new_bucket
from tests.support.sweeps import Make, prompts

CANARY = "canary-7Zq0f3xW"
ROOT = Path(__file__).parents[2]


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )


def secrets(kind: str) -> dict[str, str]:
    """The canary in the environment as AWS's own variables, or as fsspec's options."""
    if kind == "environment":
        given = {"AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": f"{CANARY}-token"}
        return {"AWS_ACCESS_KEY_ID": "testing", **given}
    return {"FSSPEC_S3": json.dumps({"key": "testing", "secret": CANARY, "token": f"{CANARY}-token"})}


def test_a_url_with_credentials_is_refused_and_not_repeated() -> None:
    for url in (f"s3://key:{CANARY}@bucket/runs", f"s3://{CANARY}@bucket", f"gopher://me:{CANARY}@host/x"):
        with pytest.raises(StoreError, match="holds credentials") as refused:
            Output(url)
        assert CANARY not in str(refused.value)
        assert CANARY not in repr(refused.value.__cause__)


@pytest.mark.parametrize("key", ["model", "transcoders", "output", "prompts"])
def test_a_sweep_file_with_credentials_is_refused_and_not_repeated(key: str) -> None:
    values = {"model": "demo", "transcoders": "demo", "prompts": "demo", "output": "out"}
    with pytest.raises(ConfigurationError, match=f"{key}.*must not hold credentials") as refused:
        SweepConfig.model_validate(values | {key: f"s3://key:{CANARY}@bucket/x.jsonl"})
    assert CANARY not in str(refused.value)


SIGNED = [
    "https://h/p.jsonl?X-Amz-Algorithm=AWS4&X-Amz-Signature=" + CANARY,
    "https://h/p.jsonl?AWSAccessKeyId=x&Expires=1&Signature=" + CANARY,
    "https://h/p.jsonl?X-Goog-Credential=" + CANARY,
    "https://h.blob.core.windows.net/c/p.jsonl?sv=2024&sig=" + CANARY,
    "https://h/p.jsonl?token=" + CANARY,
    "https://h/p.jsonl?a=1;access_token=" + CANARY,
    "https://h/p.jsonl?%74oken=" + CANARY,
    "https://h/p.jsonl?api_key=" + CANARY,
    "https://h/p.jsonl#access_token=" + CANARY,
    "https://h/p.jsonl?Policy=x&Key-Pair-Id=" + CANARY,
    "https://dropbox.com/scl/fi/x/p.jsonl?rlkey=" + CANARY,
    "https://h/p.jsonl;sig=" + CANARY,
    "https://h/p.jsonl?session=long-" + CANARY,
    f"simplecache::https://me:{CANARY}@h/p.jsonl",
    f"simplecache::https://h/p.jsonl?sig={CANARY}",
    f"zip://p.jsonl::https://h/p.zip?sig={CANARY}",
]


@pytest.mark.parametrize("url", SIGNED)
@pytest.mark.parametrize("key", ["model", "transcoders", "output", "prompts"])
def test_a_signed_url_is_refused_and_not_repeated(key: str, url: str) -> None:
    values = {"model": "demo", "transcoders": "demo", "prompts": "demo", "output": "out"}
    with pytest.raises(ConfigurationError, match=f"{key}.*must not hold credentials") as refused:
        SweepConfig.model_validate(values | {key: url})
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("url", SIGNED)
def test_an_output_or_a_cluster_with_a_signed_url_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="holds credentials") as of_output:
        open_folder(url)
    with pytest.raises(ConfigurationError, match="holds credentials") as of_cluster:
        head_address(url)
    assert CANARY not in f"{of_output.value} {of_cluster.value}"


@pytest.mark.parametrize(
    "url",
    [
        "https://h/p.jsonl?download=true&author=me&tokenizer=t",
        "https://h/p?.jsonl",
        "https://h/p.jsonl?key=de&session=3&code=fr&policy=x&tokens=5",
        "https://h/p.jsonl?token=",
        "hf://org/name?revision=main",
        "hf://datasets/org/name@main/p.jsonl",
        "s3://bucket/tokens/key=1/p.jsonl",
        "data/token=1/p.jsonl",
        "org/model@v1",
    ],
)
def test_a_url_that_lets_nobody_in_is_taken(url: str) -> None:
    assert not holds_credentials(url)


@pytest.mark.parametrize(
    ("endpoint", "is_said"),
    [
        ("http://store.example:9000", True),
        ("https://store.example:9000", False),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000", False),
    ],
)
def test_s3_without_tls_is_said_once(
    endpoint: str, is_said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {**secrets("environment"), "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    for _ in range(2):
        open_folder("s3://bucket/runs").delta_options()
    assert [record.args for record in caplog.records] == [(endpoint,)] * is_said
    forget_clients()


@pytest.mark.parametrize("name", ["query", "verify", "compact", "run"])
def test_commands_do_not_repeat_credentials(name: str, tmp_path: Path) -> None:
    url = f"s3://key:{CANARY}@bucket/runs"
    arguments = {"query": [url, "select 1"], "run": ["demo", "--output", url]}.get(name, [url])
    done = command(name, *arguments)
    assert done.returncode == 2
    assert "credentials" in done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["environment", "options"])
def test_a_store_that_refuses_the_connection_is_no_reason_to_tell(kind: str) -> None:
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    done = command("verify", "s3://bucket/runs", **nowhere, **secrets(kind), AWS_MAX_ATTEMPTS="1")
    assert done.returncode == 2
    assert "Could not connect" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_what_deltalake_is_told_is_in_no_representation(s3_endpoint: str, monkeypatch) -> None:
    url = new_bucket(s3_endpoint, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    forget_clients()
    folder = open_folder(url)
    for thing in (folder, Output(url), folder.fs):
        assert CANARY not in repr(thing)


@pytest.fixture
def cluster_with_canary(monkeypatch: pytest.MonkeyPatch, s3_endpoint: str) -> Iterator[tuple[str, str, Path]]:
    """A bucket, and a Ray cluster that knows the canary and logs into a folder of its own."""
    url = new_bucket(s3_endpoint, monkeypatch)
    for name, value in secrets("environment").items():
        monkeypatch.setenv(name, value)
    forget_clients()
    arguments = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    yield url, cluster.address, Path(cluster.head_node.get_logs_dir_path())
    cluster.shutdown()
    forget_clients()


@pytest.mark.faults
def test_nothing_that_a_sweep_leaves_holds_the_secret(
    make_config: Make, cluster_with_canary: tuple[str, str, Path], tmp_path: Path
) -> None:
    url, address, logs = cluster_with_canary
    config = make_config(prompts(6), output=url)
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json", exclude_none=True)))
    said = [command("run", path, "--address", address)]
    assert said[0].returncode == 0, said[0].stderr
    said.append(command("compact", url))
    said.append(command("verify", url))
    said.append(command("query", url, "select count(*) from edges"))
    said.append(command("query", url, "select nonsense"))
    assert [done.returncode for done in said] == [0, 0, 0, 0, 2]
    assert CANARY not in "".join(done.stdout + done.stderr for done in said)
    fs = open_folder(url).fs
    written = fs.find(url)
    assert len(written) > 10
    for name in written:
        assert CANARY.encode() not in fs.cat_file(name), name
    assert any(logs.iterdir())
    for log in logs.rglob("*"):
        if log.is_file():
            assert CANARY.encode() not in log.read_bytes(), log
