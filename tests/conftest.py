"""Fixtures that all rooms share."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.golden_case import GoldenCase

# Tiny models gain nothing from a second thread, and spinning threads cost much on a busy machine.
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"


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
def ceph_endpoint() -> Iterator[str]:
    """Where Ceph's object gateway listens, one for all rooms: a real store, whose refusals look different."""
    script = Path(__file__).parent / "store" / "ceph.sh"
    folder = Path(tempfile.gettempdir(), "circuit-sweep-ceph")
    folder.mkdir(exist_ok=True)
    started = subprocess.run(["bash", script, "start", folder], stdout=subprocess.PIPE, text=True, check=True)
    yield started.stdout.strip()
    subprocess.run(["bash", script, "stop", folder], check=True)
