"""Drivers, workers and machines that die at random: the files are those of an undisturbed training."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from jobs import verify
from jobs.cli import run_command
from pipeline.training.config import DictionaryConfig
from tests.support.sweeps import wait_for
from tests.support.tiny_training import BATCH, saved, tiny_dictionary, units
from tests.support.trainings import gang_members, start_driver, write_file

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}

DEATHS = ["worker"] * 10 + ["machine"] * 5 + ["driver"] * 5

STEPS = 8_000
"""Enough that it is not done before the last death, at a few hundred steps between two."""


@dataclass
class Victims:
    """A training on a cluster whose head only drives, and what can be taken from it."""

    cluster: Cluster
    file: str
    folder: Path
    driver: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.machine = self.cluster.add_node(num_cpus=1, **NODE)
        self.begin()

    def begin(self) -> None:
        """Start a driver."""
        self.driver = start_driver(self.file, self.cluster.address, self.folder)

    def kill(self, what: str) -> None:
        """End one of them as a power cut does, and put another in its place."""
        match what:
            case "worker":
                for one in gang_members():
                    one.send_signal(signal.SIGKILL)
            case "machine":
                self.cluster.remove_node(self.machine, allow_graceful=False)
                self.machine = self.cluster.add_node(num_cpus=1, **NODE)
            case "driver":
                self.driver.kill()
                self.driver.wait()
                self.begin()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    yield cluster
    cluster.shutdown()


def dictionary(files: Path, output: Path) -> DictionaryConfig:
    workers = {"cores_per_replica": 1, "gpus_per_replica": 0, "min_replicas": 1}
    return tiny_dictionary(
        files, output, tokens=STEPS * BATCH, checkpoint_minutes=0.005, groups=1, workers=workers
    )


def test_twenty_deaths_cost_nothing_but_time(files: Path, tmp_path: Path, cluster: Cluster) -> None:
    config = dictionary(files, tmp_path / "out")
    (unit,) = units(config)
    victims = Victims(cluster, write_file(config, tmp_path), tmp_path)
    chance = random.Random(0)
    for number, what in enumerate(chance.sample(DEATHS, len(DEATHS))):
        kept = saved(config, unit)
        wait_for(grown(config, kept, chance.randrange(1, 200)), None, 300)
        assert saved(config, unit) < STEPS, f"it was done before death {number}"
        victims.kill(what)
    assert victims.driver.wait(900) == 0
    assert run_command(verify.main, [config.output]) == 0

    plain = dictionary(files, tmp_path / "plain" / "out")  # the folder names the set
    file = write_file(plain, tmp_path / "other")
    assert start_driver(file, cluster.address, tmp_path / "other").wait(900) == 0
    for name in ("config.yaml", *(f"layer_{layer}.safetensors" for layer in range(4))):
        found, wanted = (tmp_path / place / name for place in ("out", "plain/out"))
        assert found.read_bytes() == wanted.read_bytes(), name


def grown(config: DictionaryConfig, kept: int, by: int) -> Callable[[], bool]:
    """Ask if it has kept so many steps more."""
    (unit,) = units(config)
    return lambda: saved(config, unit) >= kept + by
