from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.sweep.config import WorkersConfig
from pipeline.sweep.placement import Placement, bytes_of_replica, place, refuse_impossible

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
        ({"gpus_per_replica": 1, "replicas": 6}, [HEAD], None, Placement(6, 1, 1)),
        ({"gpus_per_replica": 0}, [HEAD, GPU_NODE], GB, Placement(36, 1, 0)),
        ({}, [], GB, Placement(0, 1, 0)),
    ],
)
def test_replicas_are_fitted_to_the_machines(
    workers: dict[str, float], nodes: list[dict[str, float]], bytes_needed: int | None, expected: Placement
) -> None:
    assert place(WorkersConfig(**workers), nodes, bytes_needed) == expected


def test_what_no_machine_can_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"2 GPUs fits on no machine.*8 cores and 0 GPUs"):
        refuse_impossible(Placement(1, 1, 2), [LAPTOP])
    refuse_impossible(Placement(1, 8, 0), [LAPTOP])


def test_a_replica_needs_memory_for_its_weights(model_folder: Path) -> None:
    needed = bytes_of_replica(model_folder / "model", model_folder / "transcoders")
    weights = sum(path.stat().st_size for path in model_folder.rglob("*.safetensors"))
    assert needed == pytest.approx(GB + 2.5 * weights)
    assert bytes_of_replica(model_folder / "model", None) is None
