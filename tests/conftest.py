"""Fixtures that several rooms share: reference cases, stores, and tiny sweeps on a real Ray."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# For processes that tests start: they must not ask the network, and their Ray needs no tokens.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import pytest
import torch
from ray.cluster_utils import Cluster
from rich.console import Console

from pipeline.runtime.telemetry.progress import Progress
from pipeline.store.output import Output
from pipeline.sweep.config import SweepConfig
from tests.support.buckets import new_bucket
from tests.support.golden_case import GoldenCase
from tests.support.hub_cache import HubCache
from tests.support.outputs import write_output
from tests.support.s3_server import serve
from tests.support.stores import STORES, place
from tests.support.tiny_model import make_model, make_transcoders, tiny_config

# Tiny models gain nothing from a second thread, and spinning threads cost much on a busy machine.
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"


def pytest_configure() -> None:
    """What is made while tests are collected stays: the collector need not walk it, then or later."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # libraries look at the end of a process for what has leaked


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Switch the hub off also where its client was imported before this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session")
def golden_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], GoldenCase]:
    """Return a function that unpacks a reference case by name, once a session."""
    root = tmp_path_factory.mktemp("golden")
    cases: dict[str, GoldenCase] = {}

    def unpack(name: str) -> GoldenCase:
        if name not in cases:
            with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
                archive.extractall(root, filter="data")
            cases[name] = GoldenCase(root / name)
        return cases[name]

    return unpack


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where the S3 server of every day listens."""
    ready, tell = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(tell,), daemon=True)
    server.start()
    assert ready.poll(60), "the S3 server did not start"
    yield ready.recv()
    server.terminate()
    server.join()


@pytest.fixture(scope="session")
def ceph_endpoint() -> Iterator[str]:
    """Where Ceph's object gateway listens: a real store, whose refusals look different."""
    script = Path(__file__).parent / "support" / "ceph.sh"
    folder = Path(tempfile.gettempdir(), "circuit-sweep-ceph")
    folder.mkdir(exist_ok=True)
    started = subprocess.run(["bash", script, "start", folder], stdout=subprocess.PIPE, text=True, check=True)
    yield started.stdout.strip()
    subprocess.run(["bash", script, "stop", folder], check=True)


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket on the server of every day."""
    return new_bucket(s3_endpoint, monkeypatch)


@pytest.fixture
def ceph_url(ceph_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket on Ceph."""
    return new_bucket(ceph_endpoint, monkeypatch)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    """A Ray cluster of one machine with two cores, for as long as the tests run."""
    arguments = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
    unused = {"include_log_monitor": False, "no_monitor": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        cluster = Cluster(initialize_head=True, head_node_args=arguments | unused)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="session")
def address(ray_cluster: Cluster) -> str:
    """Where that cluster is joined."""
    return ray_cluster.address


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two layers and its transcoders, which no test may spoil."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "model")
    make_transcoders(folder / "transcoders")
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    """An empty cache of the Hub, for this process and for those that it starts."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return HubCache(tmp_path / "hub")


@pytest.fixture
def model_folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model and its transcoders that a test may spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "files"))


@pytest.fixture
def make_config(model_folder: Path, tmp_path: Path) -> Callable[..., SweepConfig]:
    """Return a maker of configurations over a list of prompt rows."""

    def make(rows: list[dict[str, Any]], **changes: Any) -> SweepConfig:
        return tiny_config(model_folder, rows, tmp_path, **changes)

    return make


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))


@pytest.fixture
def random_output(tmp_path: Path) -> Output:
    """22 random graphs in six shards, of three families and (each fourth) none."""
    return write_output(tmp_path / "output", range(22), ["a", "b", "c", None], edges=600)


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    """A place for an output, in each kind of store."""
    return place(request)


@pytest.fixture
def output(url: str) -> Output:
    """An output that does not exist yet."""
    return Output(url)
