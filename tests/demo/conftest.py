"""The shipped files, loaded once."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.builtin import FILES
from pipeline.demo.measurement.measure import Files, load_files


@pytest.fixture(scope="session")
def shipped() -> Files:
    return load_files(FILES)


@pytest.fixture(scope="session")
def card() -> dict[str, Any]:
    return json.loads(Path(FILES / "card.json").read_text())
