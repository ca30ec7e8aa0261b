from __future__ import annotations

from pathlib import Path

import pytest

from jobs import run


@pytest.fixture(scope="session")
def demo_folder(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `runs/demo` is the demo's output."""
    folder = tmp_path_factory.mktemp("demo")
    assert run.main(["demo", "--output", str(folder / "runs/demo"), "--address", address]) == 0
    return folder
