"""A tiny finished sweep, and what the sweep's own tests offer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline import ReplacementModel
from pipeline.demo import resolve
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.progress import Progress
from pipeline.sweep.sweep import run_sweep
from tests.sweep.conftest import address, make_config, model_folder, no_network, progress, tiny
from tests.sweep.tiny_model import sentence

__all__ = ["address", "make_config", "model_folder", "no_network", "progress", "tiny"]


@pytest.fixture(scope="session")
def demo() -> ReplacementModel:
    return ReplacementModel.from_pretrained(
        resolve("demo", "model"), transcoders=resolve("demo", "transcoders"), device="cpu"
    )


@pytest.fixture
def swept(make_config: Callable[..., SweepConfig], progress: Progress, address: str) -> SweepConfig:
    """A finished sweep over ten prompts of two families."""
    rows = [{"id": f"q{i}", "prompt": sentence(i), "family": f"f{i % 2}"} for i in range(10)]
    config = make_config(rows, prompts={"columns": ["family"]})
    assert run_sweep(config, progress, address).graphs == len(rows)
    return config
