"""Mistyped paths, and the outputs that they were meant to name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.nearby import nearby_outputs
from pipeline.store.output import Output


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two outputs, and a folder that is none."""
    for number, name in enumerate(("demo", "gemma-2b")):
        Output(tmp_path / "runs" / name).claim({}, number)
    (tmp_path / "runs" / "demmo-notes").mkdir()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("runs/demmo", ["runs/demo"]),
        ("rnus/demo", ["runs/demo"]),
        ("runs/gemma-2", ["runs/gemma-2b"]),
        ("runs/demo/graphs", ["runs/demo"]),
        ("runs", ["runs/demo", "runs/gemma-2b"]),
        ("x/y/z/demo", []),
    ],
)
def test_outputs_are_suggested(runs: Path, path: str, meant: list[str]) -> None:
    folder = runs.parent
    assert nearby_outputs(str(folder / path))[: len(meant) or None] == [str(folder / name) for name in meant]


def test_a_folder_without_a_sweep_is_met_with_what_was_meant(runs: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no sweep.*Did you mean .*runs/demo"):
        Output(runs / "demmo").claimed()


def test_a_url_is_not_looked_around() -> None:
    assert nearby_outputs("s3://bucket/runs/demo") == []
