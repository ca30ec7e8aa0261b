"""Machines that go, with a notice or without one, and come again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from rich.console import Console

from pipeline.runtime import GangProgress, GangSchedule, Unit, WorkersConfig, run_gangs
from pipeline.store import Output
from tests.support.counting_gangs import EVERY, STEPS, Count, saved, steps_of
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
    """One is taken away without a notice whenever both units have come to a gate, and another comes."""
    steps, gates = 100, (15, 31, 47, 62, 77, 92)
    gate = tmp_path / "gate"
    gate.write_text(str(gates[0]))
    there = [machines.add_node(num_cpus=1, **NODE) for _ in range(2)]
    progress = GangProgress(Console(quiet=True))
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(count, tmp_path, machines.address, progress, "a", "b", steps=steps)
        for at, following in pairwise((*gates, steps)):
            wait_for(lambda at=at: all(reached(tmp_path, unit) == at for unit in "ab"), None, 300)
            machines.remove_node(there.pop(0), allow_graceful=False)
            there.append(machines.add_node(num_cpus=1, **NODE))
            gate.write_text(str(following))
        schedule = counted.result()
    assert sorted(schedule.done) == ["a", "b"]
    assert schedule.deaths >= len(gates)  # more where one is started on a machine that is gone already
    done = [steps_of(tmp_path, unit) for unit in "ab"]
    assert [set(one) for one in done] == 2 * [set(range(steps))]
    lost = sum(map(len, done)) - 2 * steps
    assert lost == sum(at % EVERY for at in gates), "no more than what came after a checkpoint"
    assert lost < 0.1 * 2 * steps


def reached(folder: Path, unit: str) -> int:
    """Return how far a unit has come."""
    return max(steps_of(folder, unit), default=-1) + 1 if (folder / f"{unit}.log").exists() else 0
