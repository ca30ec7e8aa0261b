"""`circuit-sweep train` on a real Ray: to its end, after kills, and what is said of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import plan, status, train, verify
from jobs.cli import run_command
from pipeline.store import open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.layout import state_url
from pipeline.transcoders import load_transcoders
from tests.support.sweeps import wait_for
from tests.support.tiny_training import BATCH, saved, tiny_dictionary, units
from tests.support.trainings import SpoiltWork, gang_members, start_driver, write_file


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_dictionary_from_a_file_to_a_sweep(
    files: Path, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    config = tiny_dictionary(files, output, groups=2)
    file = write_file(config, tmp_path)
    assert run_command(plan.main, [file]) == 0
    planned = capsys.readouterr().out
    assert "16 bytes a parameter" in planned
    assert "3 steps of layers-000-001, taken here" in planned
    assert run_command(plan.main, [file, "--steps", "0"]) == 0
    assert re.search(r"of one device, if it sustains [\d.e-]+ TFLOP/s", capsys.readouterr().out)

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
    file = write_file(config, tmp_path)
    driver = start_driver(file, address, tmp_path)
    wait_for(lambda: saved(config, unit) > 0, driver, 240)
    kept = saved(config, unit)
    for worker in gang_members():
        worker.send_signal(signal.SIGKILL)
    wait_for(lambda: saved(config, unit) > kept, driver, 240)  # it went on by itself
    driver.kill()
    driver.wait()
    kept = saved(config, unit)
    assert kept < config.n_steps, "the training was too short to be killed twice"
    assert start_driver(file, address, tmp_path).wait(400) == 0
    said = (tmp_path / "log.txt").read_text()
    assert f"goes on from step {kept:,} of" in said
    assert run_command(verify.main, [config.output]) == 0

    plain = tiny_dictionary(files, tmp_path / "plain", **long)
    assert start_driver(write_file(plain, tmp_path / "other"), address, tmp_path).wait(400) == 0
    for layer in range(4):
        name = f"layer_{layer}.safetensors"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("nan", r"layer 2, step 100: the loss is nan.* The batch is number"),
        ("memory", "the memory is used up; the last checkpoint is kept. Lower batch"),
    ],
)
def test_what_stops_layers_for_good_is_said_and_what_they_had_is_kept(
    files: Path,
    tmp_path: Path,
    address: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    sentence: str,
) -> None:
    config = tiny_dictionary(files, tmp_path / "out", tokens=200 * BATCH, checkpoint_minutes=0.002)
    (unit,) = units(config)
    file = write_file(config, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "pipeline.training.distributed.run.TrainingWork",
            lambda *values: SpoiltWork(*values, what=what, step=100),
        )
        assert run_command(train.main, [file, "--address", address]) == 1
    said = capsys.readouterr().err
    assert re.search(rf"{unit.name} was given up: {sentence}", " ".join(said.split()))
    assert "not done. Its checkpoints are kept." in said
    kept = saved(config, unit)
    assert kept == 100 if what == "nan" else 0 < kept <= 100
    assert run_command(status.main, [config.output]) == 1
    assert f"{unit.name} was given up" in capsys.readouterr().out
    # The cause is gone: the same command goes on.
    assert run_command(train.main, [file, "--address", address]) == 0
    assert f"goes on from step {kept} of 200" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs more rights than this user or container has")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_full_disk_ends_the_run_and_with_room_it_goes_on(
    files: Path, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str], small_disk: Path
) -> None:
    config = tiny_dictionary(files, small_disk / "out", tokens=400 * BATCH, checkpoint_minutes=0.002)
    file = write_file(config, tmp_path)
    ballast, free = small_disk / "ballast", os.statvfs(small_disk)
    ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - 220_000))
    assert run_command(train.main, [file, "--address", address]) == 2
    assert "No space left" in capsys.readouterr().err
    ballast.unlink()
    assert run_command(train.main, [file, "--address", address]) == 0
    assert run_command(verify.main, [config.output]) == 0
