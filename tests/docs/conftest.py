from __future__ import annotations

from pathlib import Path

import pytest

from jobs import discover, run


@pytest.fixture(scope="session")
def demo_folder(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `runs/demo` is the demo's output."""
    folder = tmp_path_factory.mktemp("demo")
    assert run.main(["demo", "--output", str(folder / "runs/demo"), "--address", address]) == 0
    return folder


@pytest.fixture(scope="session")
def with_circuits(demo_folder: Path, address: str) -> Path:
    """The demo's output with circuits, each tested on few prompts."""
    output = demo_folder / "runs/demo"
    few = ("--prompts", "2", "--draws", "39", "--address", address)
    assert discover.main([str(output), "--by", "family", "--subject", "subject", *few]) == 0
    return output
