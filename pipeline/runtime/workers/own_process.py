"""An actor's own process: what Ray gave it, where it runs, and the variables that give it its threads."""

from __future__ import annotations

import os

import ray

from pipeline.runtime.work import WorkerResources
from pipeline.runtime.workers.messages import WorkerAddress


def own_resources(threads: int) -> WorkerResources:
    """Return what Ray gave this process."""
    devices = tuple(f"cuda:{index}" for index in range(len(ray.get_gpu_ids()))) or ("cpu",)
    # Ray gives the number of several GPUs; each of them is this worker's whole.
    share = ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0)
    return WorkerResources(threads, devices, min(1.0, share))


def own_address() -> WorkerAddress:
    """Return the address of this process."""
    node_id = ray.get_runtime_context().get_node_id()
    return WorkerAddress(ray.util.get_node_ip_address(), node_id, os.getpid())


def thread_environment(cores: int) -> dict[str, str]:
    """Return the variables that give a process its threads, which sleep while they wait (see `jobs.cli`)."""
    return {
        "OMP_NUM_THREADS": str(cores),
        "MKL_NUM_THREADS": str(cores),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
    }
