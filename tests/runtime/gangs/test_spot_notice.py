"""Machines that go, with a notice or without one, and come again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from rich.console import Console

from pipeline.runtime import GangProgress, GangSchedule, Unit, WorkersConfig, run_gangs
from pipeline.store import Output
from tests.support.counting_gangs import STEPS, Count, saved, steps_of
from tests.support.sweeps import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture
def machines() -> Iterator[Cluster]:
    """A cluster whose head only drives."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    yield cluster
    cluster.shutdown()


def count(folder: Path, address: str, progress: GangProgress, *units: str, **work: float) -> GangSchedule:
    workers = WorkersConfig(min_replicas=1, cores_per_replica=1, gpus_per_replica=0)
    with Output(folder / "output").hold() as lease:
        return run_gangs(
            Count(str(folder), **work),
            [Unit(name) for name in units],
            str(folder),
            workers,
            progress,
            lease,
            partial(saved, str(folder)),
            address=address,
        )


def test_a_machine_that_is_about_to_go_is_left_in_good_order(tmp_path: Path, machines: Cluster) -> None:
    first = machines.add_node(num_cpus=1, **NODE)
    progress = GangProgress(Console(quiet=True))
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(count, tmp_path, machines.address, progress, "a", pause=1.0)
        wait_for(lambda: (tmp_path / "a.log").exists() and len(steps_of(tmp_path, "a")) > 1)
        machines.add_node(num_cpus=1, **NODE)
        accepted, reason = GcsClient(machines.address).drain_node(
            first.node_id,
            autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
            "spot notice",
            int(time.time() * 1000) + 30_000,
        )
        assert accepted, reason
        schedule = counted.result()
    assert (schedule.done, schedule.deaths) == (["a"], 0)
    assert steps_of(tmp_path, "a") == [*range(STEPS)], "no step is taken twice"
    assert any("about to go" in note for note in progress.notes)


def test_two_machines_that_come_and_go_lose_under_a_tenth_of_the_steps(
    tmp_path: Path, machines: Cluster
) -> None:
    """Each is taken away without a notice, six times in all, as soon as its unit has got on."""
    steps, deaths = 100, 6
    there = [machines.add_node(num_cpus=1, **NODE) for _ in range(2)]
    progress = GangProgress(Console(quiet=True))
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(count, tmp_path, machines.address, progress, "a", "b", pause=0.2, steps=steps)
        wanted = 4
        for death in range(deaths):
            wait_for(lambda wanted=wanted: all(taken(tmp_path, unit) >= wanted for unit in "ab"), None, 300)
            machines.remove_node(there.pop(0), allow_graceful=False)
            there.append(machines.add_node(num_cpus=1, **NODE))
            wanted = max(taken(tmp_path, unit) for unit in "ab") + 2 + death % 3
        schedule = counted.result()
    assert sorted(schedule.done) == ["a", "b"]
    assert schedule.deaths == deaths
    done = [steps_of(tmp_path, unit) for unit in "ab"]
    assert [set(one) for one in done] == 2 * [set(range(steps))]
    lost = sum(map(len, done)) - 2 * steps
    assert 0 < lost < 0.1 * 2 * steps


def taken(folder: Path, unit: str) -> int:
    """Steps that a unit has taken, those that were lost among them."""
    return len(steps_of(folder, unit)) if (folder / f"{unit}.log").exists() else 0
