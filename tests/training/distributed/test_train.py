"""`circuit-sweep train` on a real Ray: to its end, after kills, and what is said of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from jobs import plan, status, train, verify
from jobs.cli import run_command
from pipeline.store import open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.layout import state_url
from pipeline.transcoders import load_transcoders
from tests.support.sweeps import wait_for
from tests.support.tiny_training import BATCH, saved, tiny_dictionary, units

ROOT = Path(__file__).parents[3]


def write(config: DictionaryConfig, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dictionary.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    return str(file)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_dictionary_from_a_file_to_a_sweep(
    files: Path, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    config = tiny_dictionary(files, output, groups=2)
    file = write(config, tmp_path)
    assert run_command(plan.main, [file]) == 0
    assert "16 bytes a parameter" in capsys.readouterr().out

    assert run_command(train.main, [file, "--address", address]) == 0
    said = capsys.readouterr().err
    assert "layers-000-001 is done: FVU" in said
    assert f"run SWEEP.yaml --transcoders {output}" in said
    assert load_transcoders(output).n_layers == 4
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [layer["layer"] for layer in metrics["layers"]] == [0, 1, 2, 3]
    assert (tmp_path / "out" / "card.md").is_file()

    assert run_command(status.main, [output]) == 0
    assert "finished" in capsys.readouterr().out
    assert run_command(verify.main, [output]) == 0
    # Nothing is left, so no cluster is asked for.
    assert run_command(train.main, [file, "--address", "nobody.invalid:1"]) == 0
    capsys.readouterr()
    assert run_command(train.main, [file, "--k", "3"]) == 2
    assert "k: 4 -> 3" in capsys.readouterr().err

    for name in ("layer_1.safetensors", next(checkpoint_files(config, groups=2))):
        flip(tmp_path / "out" / name)
    assert run_command(verify.main, [output]) == 1
    found = capsys.readouterr().out
    assert found.count("its checksum differs") == 2


def checkpoint_files(config: DictionaryConfig, groups: int):
    for unit in units(config, groups):
        for marker in Checkpoints(open_folder(state_url(config.output)), unit.name).markers():
            yield f".training/{marker.shards[0].name}"


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 2
    file.write_bytes(data)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_killed_workers_and_drivers_cost_nothing_but_time(files: Path, tmp_path: Path, address: str) -> None:
    long = {"tokens": 1500 * BATCH, "checkpoint_minutes": 0.01}
    config = tiny_dictionary(files, tmp_path / "out", **long)
    (unit,) = units(config)
    file = write(config, tmp_path)
    driver = start(file, address, tmp_path)
    wait_for(lambda: saved(config, unit) > 0, driver, 240)
    kept = saved(config, unit)
    for worker in members():
        worker.send_signal(signal.SIGKILL)
    wait_for(lambda: saved(config, unit) > kept, driver, 240)  # it went on by itself
    driver.kill()
    driver.wait()
    kept = saved(config, unit)
    assert kept < config.n_steps, "the training was too short to be killed twice"
    assert start(file, address, tmp_path).wait(400) == 0
    said = (tmp_path / "log.txt").read_text()
    assert f"goes on from step {kept:,} of" in said
    assert run_command(verify.main, [config.output]) == 0

    plain = tiny_dictionary(files, tmp_path / "plain", **long)
    assert start(write(plain, tmp_path / "other"), address, tmp_path).wait(400) == 0
    for layer in range(4):
        name = f"layer_{layer}.safetensors"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def start(file: str, address: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a driver in a process of its own, whose words are in `log.txt`."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.train", file, "--address", address],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stderr=(folder / "log.txt").open("wb"),
    )


def members() -> list[psutil.Process]:
    """The processes of gangs on this test's Ray."""
    mine = psutil.Process().children(recursive=True)
    return [one for one in mine if one.is_running() and "GangMember" in " ".join(one.cmdline())]
