from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# For processes that tests start: they must not ask the network, and their Ray needs no tokens.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from pipeline.sweep.config import SweepConfig
from pipeline.sweep.progress import Progress
from tests.sweep.tiny_model import make_model, make_transcoders


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Switch the hub off also where its client was imported before this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two layers and its transcoders."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "model")
    make_transcoders(folder / "transcoders")
    return folder


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A Ray cluster of one machine with two cores, for as long as the tests run."""
    arguments = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def model_folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model and its transcoders that a test may spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "files"))


@pytest.fixture
def make_config(model_folder: Path, tmp_path: Path) -> Callable[..., SweepConfig]:
    """Return a maker of configurations over a list of prompt rows."""

    def make(rows: list[dict[str, Any]], **changes: Any) -> SweepConfig:
        source = tmp_path / "prompts.jsonl"
        source.write_text("\n".join(json.dumps(row) for row in rows))
        values = {
            "model": str(model_folder / "model"),
            "transcoders": str(model_folder / "transcoders"),
            "prompts": {"source": str(source), **changes.pop("prompts", {})},
            "output": str(tmp_path / "output"),
            "shard_size": 4,
            "workers": {"replicas": 1, "cores_per_replica": 1},  # a second thread rounds otherwise
        }
        return SweepConfig.model_validate(values | changes)

    return make


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))
