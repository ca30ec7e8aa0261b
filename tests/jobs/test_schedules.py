"""Of `jobs/schedules/`: Kubernetes would take the manifests, and our command line the commands in them."""

from __future__ import annotations

import json
import lzma
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from jobs import run, submit

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "jobs/schedules"
CRON_LINE = re.compile(r"(?:# )?(?P<time>\d+ \d+ \* \* \*) (?P<command>.*)")


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    """What Kubernetes checks, and that no field is misspelt; the schema itself is taken to be right."""
    text = lzma.decompress((Path(__file__).parent / f"kubernetes/{kind}.json.xz").read_bytes())
    rules = closed(json.loads(text))
    metadata = rules.get("properties", {}).get("metadata", {})
    metadata.pop("additionalProperties", None)  # a CRD leaves metadata to Kubernetes
    return jsonschema.Draft202012Validator(rules)


def closed(node: Any) -> Any:
    """A schema that takes no field that it does not name: one would be a misspelling."""
    if isinstance(node, list):
        return [closed(value) for value in node]
    if not isinstance(node, dict):
        return node
    inner = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def lines() -> list[re.Match[str]]:
    return [
        found
        for line in (FOLDER / "crontab").read_text().splitlines()
        if (found := CRON_LINE.fullmatch(line))
    ]


@pytest.mark.parametrize("kind", ["cronjob", "rayjob"])
def test_kubernetes_takes_the_manifests(kind: str) -> None:
    validator(kind).validate(manifest(f"{kind}.yaml"))


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("cronjob", lambda spec: spec.update(concurencyPolicy="Forbid")),
        (
            "cronjob",
            lambda spec: spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0].pop("name"),
        ),
        ("rayjob", lambda spec: spec["rayClusterSpec"].update(authOptions={"mode": "none"})),
        (
            "rayjob",
            lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(image="x"),
        ),
    ],
)
def test_a_mistake_would_be_found(kind: str, spoil: Any) -> None:
    spoilt = manifest(f"{kind}.yaml")
    spoil(spoilt["spec"])
    with pytest.raises(jsonschema.ValidationError):
        validator(kind).validate(spoilt)


def test_nights_do_not_overlap() -> None:
    spec = manifest("cronjob.yaml")["spec"]
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert "--follow" in container["command"], "a pod that did not stay would not hold the next night off"
    assert all(" flock -n " in line["command"] for line in lines())


def test_versions_and_authentication_are_said() -> None:
    cluster = manifest("rayjob.yaml")["spec"]["rayClusterSpec"]
    constraints = (ROOT / "constraints.txt").read_text()
    assert f"ray=={cluster['rayVersion']}\n" in constraints
    assert cluster["authOptions"]["mode"] == "token"
    python = re.search(r"FROM python:(3\.\d+)-slim-bookworm", (FOLDER / "Dockerfile").read_text())
    assert python is not None
    assert f'requires-python = ">={python[1]}"' in (ROOT / "pyproject.toml").read_text()
    (container,) = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
    assert "\nRAY_AUTH_MODE=token\n" in (FOLDER / "crontab").read_text()


def pods() -> dict[str, dict[str, Any]]:
    """The specification of every pod that the manifests make."""
    job = manifest("rayjob.yaml")["spec"]
    cluster = job["rayClusterSpec"]
    return {
        "submit": manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        "submitter": job["submitterPodTemplate"]["spec"],
        "head": cluster["headGroupSpec"]["template"]["spec"],
        **{group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]},
    }


@pytest.mark.parametrize("name", pods())
def test_pods_have_no_rights_that_they_do_not_need(name: str) -> None:
    pod = pods()[name]
    user = re.search(r"useradd .*--uid (\d+)", (FOLDER / "Dockerfile").read_text())
    assert user is not None
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user[1]),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in pod["containers"]:
        closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == closed
    # The head's autoscaler asks Kubernetes for workers; nobody else speaks to it.
    assert pod.get("automountServiceAccountToken") is (None if name == "head" else False)


def commands() -> dict[str, list[str]]:
    """Every command line of ours in the schedules, by where it stands."""
    (container,) = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    found = {
        "cronjob": container["command"],
        "rayjob": shlex.split(manifest("rayjob.yaml")["spec"]["entrypoint"]),
    }
    for line in lines():
        words = shlex.split(line["command"].partition(">>")[0])
        command = words[words.index("circuit-sweep") :]
        found[f"crontab, {command[1]}"] = command
    return found


@pytest.mark.parametrize("where", commands())
def test_our_command_line_takes_the_commands(where: str, tmp_path: Path) -> None:
    program, command, sweep, *options = commands()[where]
    assert (program, Path(sweep).name) == ("circuit-sweep", "sweep.yaml")
    path = tmp_path / "sweep.yaml"
    path.write_text("{model: demo, transcoders: demo, prompts: demo, output: 's3://bucket/sweep'}")
    module = {"run": run, "submit": submit}[command]
    arguments, _ = module.read_arguments(module.Arguments, [str(path), *options], command, None)
    if command == "submit":
        assert arguments.follow
        assert arguments.address.startswith("http://")


def test_a_night_that_is_still_at_work_keeps_the_next_one_out(tmp_path: Path) -> None:
    """The crontab's own line, with a program of its name that waits."""
    (tmp_path / "sweeps").mkdir()
    program = tmp_path / "circuit-sweep"
    program.write_text("#!/bin/sh\necho began\ntouch begun\nwhile [ ! -e end ]; do sleep 0.05; done\n")
    program.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    line = lines()[0]["command"]
    with subprocess.Popen(["sh", "-c", line], env=environment) as first:
        while not (tmp_path / "sweeps/begun").exists():
            assert first.poll() is None
        assert subprocess.run(["sh", "-c", line], env=environment, check=False).returncode == 1
        (tmp_path / "sweeps/end").touch()
    assert first.returncode == 0
    assert (tmp_path / "sweeps/nightly.log").read_text() == "began\n"
