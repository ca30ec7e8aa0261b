from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.errors import ConfigurationError
from pipeline.runtime.config import WorkersConfig
from pipeline.runtime.workers.placement import Placement, place_workers, refuse_impossible
from pipeline.runtime.workers.session import cluster
from pipeline.runtime.workers.worker import start_worker
from tests.support.idle_workers import Witness

GB = 1 << 30
LAPTOP = {"CPU": 8.0, "memory": 16 * GB}
HEAD = {"CPU": 4.0, "memory": 16 * GB}
GPU_NODE = {"CPU": 32.0, "GPU": 8.0, "memory": 500 * GB}


@pytest.mark.parametrize(
    ("workers", "nodes", "bytes_needed", "expected"),
    [
        ({}, [LAPTOP], GB, Placement(8, 1, 0)),
        ({}, [LAPTOP], 5 * GB, Placement(3, 2, 0)),
        ({}, [LAPTOP], 99 * GB, Placement(1, 8, 0)),
        ({}, [LAPTOP], None, Placement(1, 8, 0)),
        ({"replicas": 2}, [LAPTOP], GB, Placement(2, 4, 0)),
        ({"replicas": 20}, [LAPTOP], GB, Placement(20, 1, 0)),
        ({"cores_per_replica": 3}, [LAPTOP], GB, Placement(2, 3, 0)),
        ({}, [HEAD, GPU_NODE, GPU_NODE], None, Placement(16, 4, 1)),
        ({"gpus_per_replica": 0.5}, [GPU_NODE], None, Placement(16, 2, 0.5)),
        ({"gpus_per_replica": 0.6}, [GPU_NODE], None, Placement(8, 4, 0.6)),
        ({"gpus_per_replica": 3}, [GPU_NODE], None, Placement(2, 16, 3)),
        ({"gpus_per_replica": 1, "replicas": 6}, [HEAD], None, Placement(6, 1, 1)),
        ({"gpus_per_replica": 0}, [HEAD, GPU_NODE], GB, Placement(36, 1, 0)),
        ({}, [], GB, Placement(0, 1, 0)),
        ({"min_replicas": 4, "gpus_per_replica": 1, "cores_per_replica": 3}, [HEAD], GB, Placement(4, 3, 1)),
        ({"min_replicas": 4, "gpus_per_replica": 1}, [HEAD, GPU_NODE], GB, Placement(8, 4, 1)),
        ({"max_replicas": 6}, [HEAD, GPU_NODE], GB, Placement(6, 4, 1)),
        ({"min_replicas": 2, "max_replicas": 3, "gpus_per_replica": 0}, [], GB, Placement(2, 1, 0)),
    ],
)
def test_replicas_are_fitted_to_the_machines(
    workers: dict[str, float], nodes: list[dict[str, float]], bytes_needed: int | None, expected: Placement
) -> None:
    assert place_workers(WorkersConfig(**workers), nodes, bytes_needed) == expected


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        ({"replicas": 2, "min_replicas": 3}, "sets min_replicas to 3, but replicas to 2"),
        (
            {"min_replicas": 3, "max_replicas": 2, "gpus_per_replica": 1},
            "3 above max_replicas 2",
        ),
        ({"min_replicas": 3}, "set gpus_per_replica too"),
        ({"gpus_per_replica": 1.5}, "is 1.5: above 1 a copy owns whole GPUs; give 1 or a share of one"),
        ({"gpus_per_replica": float("inf")}, "finite"),
    ],
)
def test_bounds_that_contradict_are_refused(workers: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorkersConfig(**workers)


def test_what_no_machine_can_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"2 GPUs fits on no machine.*8 cores and 0 GPUs"):
        refuse_impossible(Placement(1, 1, 2), [LAPTOP])
    refuse_impossible(Placement(1, 8, 0), [LAPTOP])


def test_workers_use_the_gpus_that_they_were_given(ray_cluster: Cluster, tmp_path: Path) -> None:
    expected = {
        0: (["cpu"], 1.0),
        0.25: (["cuda:0"], 0.25),
        1: (["cuda:0"], 1.0),
        2: (["cuda:0", "cuda:1"], 1.0),
    }
    machine = ray_cluster.add_node(num_cpus=4, num_gpus=4, object_store_memory=80 << 20)
    try:
        with cluster(ray_cluster.address):
            seen = witnessed(tmp_path, [Placement(1, 1, gpus) for gpus in expected])
    finally:
        ray_cluster.remove_node(machine)
        ray_cluster.wait_for_nodes()  # until it is known to be gone, others would count on its GPUs
    assert [(one["devices"], one["device_share"]) for one in seen] == list(expected.values())


def test_a_workers_threads_are_its_cores_and_sleep_while_they_wait(address: str, tmp_path: Path) -> None:
    with cluster(address):
        (seen,) = witnessed(tmp_path, [Placement(1, 2, 0)])
    expected = {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
    }
    assert seen["threads"] == 2
    assert {name: seen["environment"].get(name) for name in expected} == expected


def witnessed(folder: Path, placements: list[Placement]) -> list[dict[str, Any]]:
    """Return what workers find that are placed so."""
    files = [folder / f"{number}.json" for number in range(len(placements))]
    actors = [
        start_worker(Witness(str(file)), str(folder / "output"), placement)
        for file, placement in zip(files, placements, strict=True)
    ]
    ray.get([actor.load.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)
    return [json.loads(file.read_text()) for file in files]
