"""Trainings as a user starts them: a file, a driver in a process of its own, and trainings that go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch
import yaml

from pipeline.runtime import Member
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.work import TrainingWork
from pipeline.training.layer_group import LayerGroup
from tests.support.tiny_training import acted_at

ROOT = Path(__file__).parents[2]


def write_file(config: DictionaryConfig, folder: Path) -> str:
    """Write a dictionary's file, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dictionary.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    return str(file)


def start_driver(file: str, address: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a driver in a process of its own, whose words are in `log.txt`."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.train", file, "--address", address],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stderr=(folder / "log.txt").open("wb"),
    )


def gang_members() -> list[psutil.Process]:
    """The processes of gangs on this test's Ray."""
    mine = psutil.Process().children(recursive=True)
    return [one for one in mine if one.is_running() and "GangMember" in " ".join(one.cmdline())]


@dataclass
class SpoiltWork(TrainingWork):
    """A training in which something goes wrong at a step."""

    what: Literal["nan", "memory"] = "nan"
    step: int = 100

    def go_on(self, unit: str, member: Member) -> bool:
        """Go on until then."""
        if self.what == "nan":
            plant_nan(self.step)
        else:
            acted_at(lambda step: torch.empty(1 << 60) if step == self.step else None)
        return super().go_on(unit, member)


def plant_nan(at: int) -> None:
    """Make a number of layer 2's outputs none, in this process."""
    original = LayerGroup.step

    def spoilt(group: LayerGroup, rows: dict) -> object:
        if group.step_number == at:
            rows[2].outputs[5, 3] = torch.nan
        return original(group, rows)

    LayerGroup.step = spoilt
