"""`steer` finds a model by an output, a sweep file, or `demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.store import Output
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.run import described
from tests.support.commands import Command

OPTIONS = ("--feature", "1/81=0.5", "--prompts", "The capital of the state", "--max-new-tokens", "1")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("steer") / "output"
    config = SweepConfig(model="demo", transcoders="demo", prompts="demo", output=str(folder))
    inputs = open_inputs(config)
    Output(config.output).claim(described(config, inputs), inputs.run_key, inputs.prompts.extra_columns)
    return config.output


def test_an_output_a_sweep_file_and_demo_give_the_same_rows(
    output: str, tmp_path: Path, here: Command
) -> None:
    (tmp_path / "sweep.yaml").write_text("{model: demo, transcoders: demo}")
    found = []
    for number, source in enumerate((output, tmp_path / "sweep.yaml", "demo")):
        done = here("steer", source, *OPTIONS, "--output", tmp_path / f"{number}.parquet")
        assert done.returncode == 0, done.stderr
        found.append(pq.read_table(tmp_path / f"{number}.parquet").to_pylist())
    assert found[0] == found[1] == found[2]
    assert {row["strength"] for row in found[0]} == {0.0, 1.0}


def test_rows_come_in_the_format_that_is_asked_for(here: Command) -> None:
    done = here("steer", "demo", *OPTIONS, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["intervention"] == "1/81=0.5"


def test_nothing_is_written_unasked(tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = here("steer", "demo", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "continuation" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_sweep_is_named(tmp_path: Path, here: Command) -> None:
    done = here("steer", tmp_path, *OPTIONS)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
