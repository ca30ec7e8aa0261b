"""A tiny finished sweep, and what the sweep's own tests offer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import ReplacementModel
from pipeline.builtin import resolve
from pipeline.runtime.telemetry.progress import Progress
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep
from tests.support.tiny_model import sentence, tiny_config


@pytest.fixture(scope="session")
def demo() -> ReplacementModel:
    return ReplacementModel.from_pretrained(
        resolve("demo", "model"), transcoders=resolve("demo", "transcoders"), device="cpu"
    )


@pytest.fixture(scope="session")
def finished(tiny: Path, address: str, tmp_path_factory: pytest.TempPathFactory) -> SweepConfig:
    """A finished sweep over ten prompts of two families, which no test may write to."""
    rows = [{"id": f"q{i}", "prompt": sentence(i), "family": f"f{i % 2}"} for i in range(10)]
    config = tiny_config(tiny, rows, tmp_path_factory.mktemp("swept"), prompts={"columns": ["family"]})
    assert run_sweep(config, Progress(Console(quiet=True)), address).counts.done == len(rows)
    return config


@pytest.fixture
def swept(finished: SweepConfig, tmp_path: Path) -> SweepConfig:
    """The same sweep in a copy of its output."""
    output = shutil.copytree(finished.output, tmp_path / "output")
    return finished.model_copy(update={"output": str(output)})
