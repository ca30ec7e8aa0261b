"""Fixtures that all rooms share."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
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
