"""`status` while a real sweep runs, after it was interrupted, after its driver was killed, and at its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.tiny_model import make_model, make_transcoders, sentence

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep file and all that it names."""
    folder = tmp_path_factory.mktemp("status")
    prompts = [json.dumps({"id": f"q{i}", "prompt": sentence(i)}) for i in range(20_000)]
    (folder / "prompts.jsonl").write_text("\n".join(prompts))
    sweep = {
        "model": make_model(folder / "model"),
        "transcoders": make_transcoders(folder / "transcoders"),
        "prompts": str(folder / "prompts.jsonl"),
        "output": str(folder / "out"),
        "shard_size": 4,
        "workers": {"replicas": 1, "cores_per_replica": 1},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    return folder


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.run", str(folder / "sweep.yaml"), *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def status(folder: Path) -> tuple[int, dict[str, Any]]:
    shell = [sys.executable, "-m", "jobs.status", str(folder / "out"), "--format", "json"]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def until_committed(folder: Path, run: subprocess.Popen[bytes], graphs: int) -> tuple[int, dict[str, Any]]:
    """Look until so many graphs are there and the driver has said what its workers do."""
    while True:
        assert run.poll() is None
        code, found = status(folder)
        if found["committed"]["graphs"] >= graphs and found["rate"]:
            return code, found
        time.sleep(1)


def test_a_sweep_from_its_first_start_to_its_end(folder: Path) -> None:
    code, found = status(folder)
    assert (code, found["state"]) == (2, "never started")

    run = start(folder)
    code, found = until_committed(folder, run, 4)
    assert (code, found["state"]) == (0, "running")
    assert found["driver"]["name"].endswith(f":{run.pid}")
    assert found["total"] == 20_000
    assert 0 < found["left"] < 20_000
    assert found["seconds_left"] > 0
    (worker,) = found["workers"]
    assert worker["worker"]["activity"] == "working"
    assert worker["committed"]["graphs"] >= 4
    run.terminate()
    assert run.wait(60) == 130
    code, found = status(folder)
    assert (code, found["state"], found["driver"]) == (1, "interrupted", None)
    assert 0 < found["left"] < 20_000

    done = found["committed"]["graphs"]
    run = start(folder)
    until_committed(folder, run, done + 4)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    code, found = status(folder)
    assert (code, found["state"]) == (1, "died")
    assert found["driver"]["name"].endswith(f":{run.pid}")
    assert found["workers"][0]["worker"]["activity"] == "gone"

    done = found["committed"]["graphs"]
    run = start(folder, "--prompts.limit", str(done + 8))
    assert run.wait(300) == 0
    code, found = status(folder)
    assert (code, found["state"], found["left"], found["starts"]) == (0, "finished", 0, 2)
    assert found["committed"]["graphs"] >= done + 8
    assert found["versions"]["graphs"] == 0
