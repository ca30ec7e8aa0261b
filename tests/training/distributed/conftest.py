"""A tiny model and text, once for all trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_training import make_files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny_training")
    make_files(folder)
    return folder
