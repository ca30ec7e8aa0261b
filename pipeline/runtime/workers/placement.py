"""The number of replicas that fit on a cluster, and the cores of each.

One replica per GPU where there are GPUs. Without them, one per core: many single-threaded processes beat few
with many threads, since small products do not scale over threads, until memory runs out. How much a
replica needs is only known of local files; of a model on the hub one replica a machine gets all the cores.

`auto` follows the cluster as machines come and go. Those of `min_replicas` that there is no room for are
asked for all the same: they wait as actors, whose demand is what makes an autoscaler bring machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.errors import ConfigurationError
from pipeline.runtime.config import WorkersConfig


@dataclass(frozen=True)
class Placement:
    """The number of replicas, and the share of the cluster that each gets."""

    replicas: int
    """Replicas to run; 0 while no machine has room for one."""

    cores: int
    """Cores, and torch threads, of each."""

    gpus: float
    """GPUs of each."""


def place_workers(
    workers: WorkersConfig, nodes: Iterable[Mapping[str, float]], bytes_needed: int | None
) -> Placement:
    """Fit replicas to the machines of a cluster, each given as Ray's resources (`CPU`, `GPU`, `memory`)."""
    nodes = list(nodes)
    gpus = workers.gpus_per_replica
    if gpus == "auto":
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    slots = [_slots(workers, node, gpus, bytes_needed) for node in nodes]
    cores = workers.cores_per_replica
    if cores == "auto":
        shares = [int(node.get("CPU", 1) // n) for node, n in zip(nodes, slots, strict=True) if n]
        cores = max(1, min(shares, default=1))
        if workers.replicas != "auto" and gpus == 0 and len(nodes) == 1:
            # As many as the user wants, with the cores shared out among them.
            cores = max(1, int(nodes[0].get("CPU", 1)) // workers.replicas)
    replicas = workers.replicas
    if replicas == "auto":
        replicas = max(workers.min_replicas, sum(slots))
        replicas = min(replicas, workers.max_replicas or replicas)
    return Placement(replicas, cores, gpus)


def _slots(workers: WorkersConfig, node: Mapping[str, float], gpus: float, bytes_needed: int | None) -> int:
    cores = 1 if workers.cores_per_replica == "auto" else workers.cores_per_replica
    by_cores = int(node.get("CPU", 0) // cores)
    if gpus > 0:
        return min(by_cores, _gpu_slots(int(node.get("GPU", 0)), gpus))
    if bytes_needed is None:
        return min(by_cores, 1)
    return min(by_cores, max(1, int(node.get("memory", 0) // bytes_needed)))


def _gpu_slots(there: int, each: float) -> int:
    """Count replicas on a machine's GPUs: Ray puts several on one, but no share of one beside another."""
    # 1 / 0.1 may come out a little below 10.
    return there * int(1 / each + 1e-6) if each < 1 else int(there / each)


def refuse_impossible(placement: Placement, nodes: Iterable[Mapping[str, float]]) -> None:
    """Refuse what no machine of a fixed cluster can ever hold: Ray would wait for it in silence.

    Raises:
        ConfigurationError: naming what is asked for and what there is.

    """
    nodes = list(nodes)
    fits = any(
        n.get("CPU", 0) >= placement.cores and n.get("GPU", 0) >= placement.gpus and placement.replicas
        for n in nodes
    )
    if not fits:
        cores, gpus = (max((n.get(kind, 0) for n in nodes), default=0) for kind in ("CPU", "GPU"))
        raise ConfigurationError(
            f"workers: a replica with {placement.cores} cores and {placement.gpus:g} GPUs fits on no machine "
            f"(the largest has {cores:g} cores and {gpus:g} GPUs): lower workers.cores_per_replica or "
            "workers.gpus_per_replica, or join a cluster with --address."
        )
