"""A machine that is about to go: its unit is kept once more, and goes on elsewhere."""

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

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture
def machines() -> Iterator[Cluster]:
    """A cluster whose head only drives."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    yield cluster
    cluster.shutdown()


def count(folder: Path, address: str, progress: GangProgress) -> GangSchedule:
    workers = WorkersConfig(min_replicas=1, cores_per_replica=1, gpus_per_replica=0)
    with Output(folder / "output").hold() as lease:
        return run_gangs(
            Count(str(folder), pause=1.0),
            [Unit("a")],
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
        counted = pool.submit(count, tmp_path, machines.address, progress)
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
