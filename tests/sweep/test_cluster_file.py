"""`cluster.yaml` against Ray's own checks; nothing is started."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from jobs.run import Arguments, parse

FILE = Path(__file__).parents[2] / "cluster.yaml"


def test_ray_accepts_the_file() -> None:
    validate_config(prepare_config(yaml.safe_load(FILE.read_text())))


def test_authentication_is_said_wherever_ray_is_started() -> None:
    config = yaml.safe_load(FILE.read_text())
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert [command for command in commands if "RAY_AUTH_MODE=" not in command] == []


def test_the_command_in_the_file_is_one_that_the_command_line_takes(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("model: demo\ntranscoders: demo\nprompts: demo\n")
    (command,) = re.findall(r"circuit-sweep run SWEEP\.yaml (.*?)'", FILE.read_text().replace("\\\n#", ""))
    arguments = parse([str(path), *command.split()], Arguments, "run", None)
    assert arguments.address == "auto"
    assert arguments.config.workers.replicas == 8
    assert arguments.config.workers.gpus_per_replica == 1
