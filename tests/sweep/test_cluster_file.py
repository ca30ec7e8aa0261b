"""`cluster.yaml` against Ray's own checks and its AWS provider, with moto in the place of AWS."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
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
REGION = CONFIG["provider"]["region"]
STARTS = CONFIG["head_start_ray_commands"] + CONFIG["worker_start_ray_commands"]


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with the instance profiles that the file names. Ray writes the key pair that it makes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


def deploy(template: str) -> dict[str, str]:
    """Make what docs/aws.yaml describes, and return its outputs."""
    vpc = boto3.client("ec2", REGION).describe_vpcs()["Vpcs"][0]["VpcId"]
    values = {"Bucket": "bucket", "Vpc": vpc, "SshRange": "203.0.113.7/32"}
    stacks = boto3.client("cloudformation", REGION)
    stacks.create_stack(
        StackName="circuit-sweep",
        TemplateBody=template,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
    )
    (stack,) = stacks.describe_stacks(StackName="circuit-sweep")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_ray_accepts_the_file() -> None:
    validate_config(prepare_config(yaml.safe_load(TEXT)))


@pytest.mark.slow  # moto reads what AWS offers
def test_rays_provider_starts_the_machines(aws: None) -> None:
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    group = deploy((ROOT / "docs/aws.yaml").read_text())["SecurityGroup"]
    config = prepare_config(yaml.safe_load(TEXT.replace("sg-00000000000000000", group)))
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
    for machine in (head, worker):
        assert [found["GroupId"] for found in machine["SecurityGroups"]] == [group]
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        (disk,) = (disk["Ebs"]["VolumeId"] for disk in machine["BlockDeviceMappings"])
        (volume,) = boto3.client("ec2", REGION).describe_volumes(VolumeIds=[disk])["Volumes"]
        assert volume["Encrypted"]
    (opened,) = boto3.client("ec2", REGION).describe_security_groups(GroupIds=[group])["SecurityGroups"]
    from_outside = [rule for rule in opened["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in from_outside] == [(22, 22)]
    assert from_outside[0]["IpRanges"] == [{"CidrIp": "203.0.113.7/32"}]


def _machines(region: str) -> list[dict[str, Any]]:
    found = boto3.client("ec2", region).describe_instances()["Reservations"]
    return [machine for reservation in found for machine in reservation["Instances"]]


def test_a_token_is_asked_for_wherever_ray_is_started() -> None:
    assert [command for command in STARTS if "RAY_AUTH_MODE=token" not in command] == []
    assert "disabled" not in TEXT
    assert CONFIG["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"


def test_machines_are_closed() -> None:
    for kind in CONFIG["available_node_types"].values():
        machine = kind["node_config"]
        assert machine["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        assert all(disk["Ebs"]["Encrypted"] for disk in machine["BlockDeviceMappings"])
        assert machine["SecurityGroupIds"], "Ray's own group lets in ssh from everywhere"


def rights() -> dict[str, dict[str, Any]]:
    """What the head may do, by each statement's name; references as `Ref NAME`."""

    class Template(yaml.SafeLoader):
        pass

    Template.add_multi_constructor("!", lambda loader, tag, node: f"{tag} {node.value}")
    described = yaml.load((ROOT / "docs/aws.yaml").read_text(), Template)
    (policy,) = described["Resources"]["Head"]["Properties"]["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def test_the_head_may_start_workers_here_and_nothing_else() -> None:
    found = rights()
    assert {name for name, right in found.items() if right["Resource"] == "*"} == {"Look"}
    assert {name for name, right in found.items() if "Condition" not in right} == {"FindTheImage"}
    for right in found.values():
        assert right["Effect"] == "Allow"
        resources = right["Resource"] if isinstance(right["Resource"], list) else [right["Resource"]]
        is_here = all("${AWS::Region}" in resource for resource in resources)
        assert (
            is_here or "iam:PassRole" in right["Action"] or "aws:RequestedRegion" in str(right["Condition"])
        )
    start = found["StartMachinesOfThisClusterAsWorkers"]["Condition"]
    assert start["StringEquals"]["aws:RequestTag/ray-cluster-name"] == CONFIG["cluster_name"]
    assert start["ArnEquals"] == {"ec2:InstanceProfile": "GetAtt WorkerProfile.Arn"}
    assert found["OnEncryptedDisks"]["Condition"] == {"Bool": {"ec2:Encrypted": "true"}}
    end = found["EndMachinesOfThisCluster"]["Condition"]
    assert end == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": CONFIG["cluster_name"]}}
    handed = found["HandWorkersTheirRole"]
    assert handed["Resource"] == "GetAtt Worker.Arn"
    assert handed["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


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


def test_what_is_downloaded_is_checked_before_it_runs() -> None:
    """By its hash: a version's name says nothing of its content."""
    fetch, check, unpack = CONFIG["setup_commands"][:3]
    assert not re.search(r"\|\s*(?:ba)?sh\b", " ".join(CONFIG["setup_commands"]))
    (name,) = re.findall(r"-o (\S+) https://files\.pythonhosted\.org/\S+\.whl$", fetch)
    assert re.fullmatch(rf"echo '[0-9a-f]{{64}}  {name}' \| sha256sum --check", check)
    assert unpack.startswith(f"python3 -m zipfile -e {name} ")
    assert "curl" not in " ".join(CONFIG["setup_commands"][1:])


def test_what_is_sent_is_named_and_enough_to_install(tmp_path: Path) -> None:
    """Sent as rsync would: a build from it has all packages, and nothing hidden travels."""
    folder = tmp_path / "circuit-sweep"
    base = "/home/ubuntu/circuit-sweep/"
    ours = {there: here for there, here in CONFIG["file_mounts"].items() if there.startswith(base)}
    assert all(there == f"{base}{here}" for there, here in ours.items())
    for here in ours.values():
        target = folder / here
        if (ROOT / here).is_dir():
            shutil.copytree(ROOT / here, target, ignore=shutil.ignore_patterns(*CONFIG["rsync_exclude"]))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / here, target)
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = [
        *packages,
        project["project"]["readme"],
        *project["project"]["license-files"],
        "constraints.txt",
    ]
    assert [name for name in needed if not (folder / name).exists()] == []
    assert {path.name for path in folder.iterdir()} == {*needed, "pyproject.toml"}


def test_nothing_secret_is_inside_or_sent_along() -> None:
    assert not re.search(r"AKIA|ASIA|aws_secret|aws_access|hf_[A-Za-z0-9]{8}|-----BEGIN", TEXT, re.IGNORECASE)
    assert ".*" in CONFIG["rsync_exclude"]


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
