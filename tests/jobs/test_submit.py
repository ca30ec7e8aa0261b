"""Sweeps and trainings sent to a real head by the command, with token authentication off and on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from pipeline.store.commits.runs import read_reports
from pipeline.store.output import Output
from pipeline.transcoders import load_transcoders
from tests.support.ray_head import RayHead, ray_head
from tests.support.tiny_model import make_model, make_transcoders, sentence
from tests.support.tiny_training import BATCH, STEPS, make_files, tiny_dictionary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def open_head() -> Iterator[RayHead]:
    """A head that lets anybody in."""
    with ray_head(with_token=False) as head:
        yield head


@pytest.fixture(scope="module")
def guarded_head() -> Iterator[RayHead]:
    """A head that asks for a token."""
    with ray_head(with_token=True) as head:
        yield head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a sweep file that names what lies beside it."""
    prompts = [json.dumps({"id": f"q{i}", "prompt": sentence(i)}) for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(prompts))
    make_model(tmp_path / "model")
    make_transcoders(tmp_path / "transcoders")
    sweep = {
        "model": "model",
        "transcoders": "transcoders",
        "prompts": "prompts.jsonl",
        "output": "out",
        "shard_size": 2,
        "workers": {"replicas": 1, "cores_per_replica": 1},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    return tmp_path


def start(
    head: RayHead, folder: Path, *arguments: str, file: str = "sweep.yaml", **environment: str
) -> subprocess.Popen[str]:
    ours = {
        name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")
    }
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.submit", file, "--address", head.url, *arguments],
        cwd=folder,
        env={**ours, "PYTHONPATH": str(ROOT), "HOME": str(folder), **head.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What was started in the background of a shell ignores Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def submit(
    head: RayHead, folder: Path, *arguments: str, file: str = "sweep.yaml", **environment: str
) -> subprocess.CompletedProcess[str]:
    with start(head, folder, *arguments, file=file, **environment) as process:
        out, errors = process.communicate(timeout=600)
    assert "Traceback" not in errors
    return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


def logs(head: RayHead, job_id: str) -> str:
    """What a job printed, as the head keeps it."""
    token = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    answer = requests.get(f"{head.url}/api/jobs/{job_id}/logs", headers=token, timeout=60)
    return answer.json()["logs"]


def graphs(folder: Path) -> int:
    return sum(len(marker.prompt_keys) for marker in Output(folder / "out").committed())


def test_a_sweep_is_shipped_run_and_followed(guarded_head: RayHead, folder: Path) -> None:
    done = submit(guarded_head, folder, "--follow", "--prompts.limit", "5", "--shared", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    assert "sent as job out-20" in done.stderr
    assert "has succeeded with exit code 0" in done.stderr
    assert "exec python -m jobs.run sweep.yaml" in done.stdout
    assert re.search(r"^prompts +5$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1].endswith('limit 10"'), "the last line of the summary"
    assert not set("\r\x1b") & set(done.stdout), "plain lines"
    job_id = re.search(r"sent as job (\S+),", done.stderr)
    assert job_id is not None
    assert done.stdout == logs(guarded_head, job_id[1]), "nothing is lost"
    assert graphs(folder) == 5
    (report,) = (folder / "out" / "_runs").iterdir()
    configuration = json.loads(report.read_text())["configuration"]
    assert configuration["model"] == "model", "a path inside what was shipped"


def test_a_training_is_shipped_run_and_gone_on_with_by_another_job(open_head: RayHead, folder: Path) -> None:
    make_files(folder / "files")
    values = tiny_dictionary(Path("files"), "mine").model_dump(mode="json", exclude_unset=True)
    (folder / "dictionary.yaml").write_text(yaml.safe_dump(values))
    sent = ("--follow", "--shared", str(folder / "mine"))
    done = submit(open_head, folder, *sent, "--name", "first", file="dictionary.yaml")
    assert done.returncode == 0, done.stderr
    assert "exec python -m jobs.train dictionary.yaml" in done.stdout
    assert "layers-000-003 is done: FVU" in done.stdout
    assert load_transcoders(str(folder / "mine")).n_layers == 4
    # Of more tokens: another package, in another folder of the cluster, and the same training.
    more = (*sent, "--name", "second", "--tokens", str(2 * STEPS * BATCH))
    longer = submit(open_head, folder, *more, file="dictionary.yaml")
    assert longer.returncode == 0, longer.stderr + longer.stdout
    assert f"goes on from step {round(0.8 * STEPS)} of {2 * STEPS}" in longer.stdout
    refused = submit(open_head, folder, *sent, "--name", "third", "--k", "3", file="dictionary.yaml")
    assert refused.returncode == 2
    assert "k: 4 -> 3" in refused.stdout


def test_who_has_no_token_is_told_what_to_set(guarded_head: RayHead, folder: Path) -> None:
    for mode, token, state in (
        ("disabled", "", "is asked for jobs without a token"),
        ("token", "", "is asked for jobs without a token"),
        ("token", "wrong-canary", "refuses the token that it is given"),
    ):
        refused = submit(guarded_head, folder, RAY_AUTH_MODE=mode, RAY_AUTH_TOKEN=token)
        assert refused.returncode == 2
        assert state in refused.stderr
        assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in refused.stderr
        assert "wrong-canary" not in refused.stderr


def test_a_job_that_fails_passes_its_exit_code_on(open_head: RayHead, folder: Path) -> None:
    with (folder / "prompts.jsonl").open("a") as prompts:
        prompts.write("\n" + json.dumps({"id": "unknown", "prompt": "Dallas"}))
    some_failed = submit(open_head, folder, "--follow", "--name", "first")
    assert some_failed.returncode == 1, some_failed.stderr
    assert "unknown (tokenize): PromptError" in some_failed.stdout
    options = ("--follow", "--name", "second", "--pruning.node-threshold", "0.5", "--log-format", "json")
    refused = submit(open_head, folder, *options)
    assert refused.returncode == 2
    last = json.loads(refused.stdout.splitlines()[-1])
    assert (last["event"], last["level"]) == ("sweep stopped", "error")
    assert "pruning.node_threshold: 0.8 -> 0.5" in last["message"]
    assert "has failed with exit code 2" in refused.stderr


def test_two_that_submit_at_once_send_one_job(open_head: RayHead, folder: Path) -> None:
    both = [start(open_head, folder, "--follow") for _ in range(2)]
    ended = [(*process.communicate(timeout=600), process.returncode) for process in both]
    assert [code for _, _, code in ended] == [0, 0], ended
    assert sum("not sent again" in errors for _, errors, _ in ended) == 1, ended
    assert all("Running entrypoint" in out for out, _, _ in ended)
    assert graphs(folder) == 6


def test_one_job_an_output_which_ctrl_c_leaves_and_a_stop_ends(open_head: RayHead, folder: Path) -> None:
    prompts = (json.dumps({"id": f"q{i}", "prompt": sentence(i)}) for i in range(20_000))
    (folder / "prompts.jsonl").write_text("\n".join(prompts))
    follower = start(open_head, folder, "--follow")
    while graphs(folder) == 0:
        assert follower.poll() is None, follower.communicate()
        time.sleep(0.2)
    follower.send_signal(signal.SIGINT)
    out, errors = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert "Running entrypoint" in out
    assert "no longer following; the job goes on" in errors
    assert "Traceback" not in errors

    again = submit(open_head, folder)
    assert again.returncode == 0
    (job_id,) = {line.split()[-1] for line in again.stderr.splitlines() if "ray job stop" in line}
    assert f"not sent again: job {job_id} (running) writes to {folder / 'out'}" in again.stderr

    with start(open_head, folder, "--follow") as follower:
        ray = Path(sys.executable).with_name("ray")
        environment = {**os.environ, **open_head.environment}
        stop = [ray, "job", "stop", "--address", open_head.url, job_id]
        subprocess.run(stop, env=environment, check=True, capture_output=True)
        out, errors = follower.communicate(timeout=120)
    assert follower.returncode == 130, errors
    assert "run the same command again" in out
    assert next(read_reports(Output(folder / "out").folder)).state == "KeyboardInterrupt"
