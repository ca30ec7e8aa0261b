"""`cluster.yaml` against Ray's own checks and its AWS provider, with moto in the place of AWS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.util import prepare_config, validate_config

from jobs.run import read_arguments
from jobs.submit import Arguments
from pipeline.runtime.workers.placement import Placement, place_workers

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster.yaml").read_text()
CONFIG = yaml.safe_load(TEXT)
STARTS = CONFIG["head_start_ray_commands"] + CONFIG["worker_start_ray_commands"]


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with the instance profiles that the file names. Ray writes the key pair that it makes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        for name in ("circuit-sweep-head", "circuit-sweep-worker"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=name)
        yield


def test_ray_accepts_the_file() -> None:
    validate_config(prepare_config(yaml.safe_load(TEXT)))


@pytest.mark.slow  # moto reads what AWS offers
def test_rays_provider_starts_the_machines(aws: None) -> None:
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = prepare_config(yaml.safe_load(TEXT))
    config = bootstrap_aws(AWSNodeProvider.fillout_available_node_types_resources(config))
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}
    worker = config["available_node_types"]["worker"]["resources"]
    assert (worker["CPU"], worker["GPU"]) == (8, 1)

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for kind, described in config["available_node_types"].items():
        tags = {"ray-node-kind": kind, "ray-user-node-type": kind, "ray-node-name": kind}
        provider.create_node(described["node_config"], tags, 1)
    machines = {machine["InstanceType"]: machine for machine in _machines(config["provider"]["region"])}
    head, worker = machines["m7i.xlarge"], machines["g6e.2xlarge"]
    assert (head.get("InstanceLifecycle"), worker.get("InstanceLifecycle")) == (None, "spot")
    assert head["IamInstanceProfile"]["Arn"].endswith("/circuit-sweep-head")
    assert worker["IamInstanceProfile"]["Arn"].endswith("/circuit-sweep-worker")


def _machines(region: str) -> list[dict[str, Any]]:
    found = boto3.client("ec2", region).describe_instances()["Reservations"]
    return [machine for reservation in found for machine in reservation["Instances"]]


def test_authentication_is_said_wherever_ray_is_started() -> None:
    assert [command for command in STARTS if "RAY_AUTH_MODE=" not in command] == []


def test_jobs_find_our_python() -> None:
    """A job's command is `python -m jobs.run`, in the environment of `ray start`."""
    assert [command for command in STARTS if "PATH=$HOME/venv/bin:$PATH" not in command] == []


@pytest.mark.parametrize("command", CONFIG["setup_commands"] + STARTS)
def test_commands_are_good_shell(command: str) -> None:
    subprocess.run(["bash", "-n", "-c", command], check=True)


def test_versions_are_ours() -> None:
    setup = " ".join(CONFIG["setup_commands"])
    requires = re.search(r'requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert requires is not None
    assert f"--python {requires[1]} " in setup
    assert "-c ~/circuit-sweep/constraints.txt" in setup
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert {"ray", "torch", "boto3"} <= pinned.keys()
    assert re.search(r"uv/\d+\.\d+\.\d+/install\.sh", setup)


def test_nothing_secret_is_inside_or_sent_along() -> None:
    assert not re.search(r"AKIA|ASIA|aws_secret|aws_access|hf_[A-Za-z0-9]{8}|-----BEGIN", TEXT, re.IGNORECASE)
    assert {".env", ".git"} <= set(CONFIG["rsync_exclude"])


def test_the_command_in_the_file_is_one_that_the_command_line_takes(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("model: demo\ntranscoders: demo\nprompts: demo\n")
    command = re.search(r"circuit-sweep submit SWEEP\.yaml (.*?)\n", TEXT.replace("\\\n#", ""))
    assert command is not None
    arguments, config = read_arguments(Arguments, [str(path), *command[1].split()], "submit", None)
    assert (arguments.address, arguments.follow) == ("http://localhost:8265", True)
    workers = config.workers
    assert (workers.replicas, workers.min_replicas) == ("auto", CONFIG["max_workers"])
    machine = prepare_config(yaml.safe_load(TEXT))["available_node_types"]["worker"]["node_config"]
    assert machine["InstanceType"] == "g6e.2xlarge", "8 cores, 1 GPU"
    assert place_workers(workers, [], None) == Placement(8, 4, 1), "asked for before there is a machine"
