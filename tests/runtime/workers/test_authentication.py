"""A Ray of our own lets nobody in: a second process tries its jobs, its GCS and each process's port."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from pipeline.runtime.workers.authentication import private_folder

ROOT = Path(__file__).parents[3]
DOORS = ["GCS", "agent", "environments", "jobs", "raylet", "task", "worker"]


def without_ray(folder: Path) -> dict[str, str]:
    """The environment of somebody who knows nothing of any Ray."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**ours, "HOME": str(folder), "PYTHONPATH": str(ROOT), "RAY_NUM_REDIS_GET_RETRIES": "1"}


@pytest.fixture(scope="module")
def own_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a Ray of our own says of itself, started where tokens are switched off for clusters."""
    folder = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.support.own_ray", str(port)],
        env={**without_ray(folder), "RAY_AUTH_MODE": "disabled"},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    yield json.loads(program.stdout.readline())
    after, _ = program.communicate(timeout=60)
    assert json.loads(after) == {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": None}
    assert list(folder.iterdir()) == [], "a token is for one run, and stored nowhere"


def doors(own_ray: dict[str, Any], tmp_path: Path, **environment: str) -> tuple[list[str], bool]:
    """Return the doors that another process found open or closed, and if a job of its ran."""
    flag = tmp_path / "flag"
    tried = subprocess.run(
        [
            *(sys.executable, "-m", "tests.support.intruder", own_ray["gcs"]),
            *(str(flag), json.dumps(own_ray["listening"])),
        ],
        env={**without_ray(tmp_path), **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(tried.stdout), flag.exists()


@pytest.mark.parametrize(
    "environment",
    [
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    ],
    ids=["none", "another"],
)
def test_nobody_without_the_token_is_let_in(
    own_ray: dict[str, Any], tmp_path: Path, environment: dict[str, str]
) -> None:
    found, ran = doors(own_ray, tmp_path, **environment)
    assert found == [f"closed {name}" for name in DOORS]
    assert not ran


def test_the_token_is_what_keeps_them_out(own_ray: dict[str, Any], tmp_path: Path) -> None:
    found, _ = doors(own_ray, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=own_ray["token"])
    assert "task" in found


def test_the_token_is_long_and_shown_to_nobody(own_ray: dict[str, Any]) -> None:
    token = own_ray["token"]
    assert len(token) == 64
    assert own_ray["worker_token"] == token
    assert [command for command in own_ray["commands"] if token in command] == []
    logs = (path for path in Path(own_ray["folder"]).rglob("*") if path.is_file())
    assert [path for path in logs if token.encode() in path.read_bytes()] == []


def test_other_users_cannot_enter_the_folder_of_its_files(own_ray: dict[str, Any]) -> None:
    parents = [folder.stat() for folder in Path(own_ray["folder"]).parents]
    assert any(found.st_uid == os.getuid() and found.st_mode & 0o077 == 0 for found in parents)


def test_a_folder_that_somebody_else_prepared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    prepared = tmp_path / f"ray-{os.getuid()}"
    prepared.mkdir(mode=0o777)
    prepared.chmod(0o777)
    with pytest.raises(ConfigurationError, match="RAY_TMPDIR"):
        private_folder()
    prepared.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    prepared.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="RAY_TMPDIR"):
        private_folder()


def test_ray_is_started_in_one_function() -> None:
    """All commands and the API go through `cluster`: no other code may start a Ray, closed or not."""
    starts = []
    for path in (path for top in ("pipeline", "jobs") for path in (ROOT / top).rglob("*.py")):
        tree = ast.parse(path.read_text())
        calls = (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
        starts += [str(path.relative_to(ROOT)) for call in calls if call == "ray.init"]
    assert set(starts) == {"pipeline/runtime/workers/session.py"}
