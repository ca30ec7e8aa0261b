from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.run import Arguments, read_arguments
from pipeline.results import Results
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.sweep_file import load_sweep_file
from pipeline.training import DICTIONARY_FILE
from pipeline.training.distributed import located, sizes_of
from tests.support.commands import Command


@pytest.fixture
def written(tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    done = here("init", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "run mine.yaml" in done.stdout
    return tmp_path / "mine.yaml"


def test_the_written_file_is_a_sweep_of_the_built_in_model(written: Path) -> None:
    _, config = read_arguments(Arguments, [str(written)], "run", None)
    given = {"model": "demo", "transcoders": "demo", "prompts": "demo", "output": "runs/mine"}
    assert config == SweepConfig(**given)


def test_the_written_file_runs_as_it_stands(
    written: Path, here: Command, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    done = here("run", written, "--prompts.limit", "3")
    assert done.returncode == 0, done.stderr
    assert Results(written.parent / "runs" / "mine").dataset("graphs").count_rows() == 3


def test_three_names_make_it_a_sweep_of_ones_own(written: Path) -> None:
    names = iter(("google/gemma-2-2b", "mntss/gemma-scope-transcoders", "prompts.jsonl"))
    written.write_text(
        re.sub(r"(?<=: )demo$", lambda _: next(names), written.read_text(), flags=re.MULTILINE)
    )
    config = load_sweep_file(written)
    assert (config.model, config.prompts.source) == ("google/gemma-2-2b", "prompts.jsonl")
    assert list(names) == []


def test_every_default_that_it_shows_is_the_default(written: Path) -> None:
    before = load_sweep_file(written)
    written.write_text(re.sub(r"^( *)#(?=\w+:)", r"\1", written.read_text(), flags=re.MULTILINE))
    assert load_sweep_file(written) == before
    for key in ("node_threshold: 0.8", "replicas: auto", "shard_size: 32", "difference:"):
        assert re.search(rf"^ *{key}", written.read_text(), re.MULTILINE)


def test_a_file_that_exists_is_left_alone(written: Path, here: Command) -> None:
    text = written.read_text()
    done = here("init", written)
    assert done.returncode == 2
    assert "mine.yaml" in done.stderr
    assert written.read_text() == text


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, here: Command) -> None:
    done = here("init", tmp_path / "nowhere" / "sweep.yaml")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_the_file_of_a_dictionary_is_one_for_the_built_in_model(tmp_path: Path, here: Command) -> None:
    done = here("init", tmp_path / "mine.yaml", "--dictionary")
    assert done.returncode == 0, done.stderr
    assert "train " in done.stdout
    config = DICTIONARY_FILE.load(tmp_path / "mine.yaml")
    assert (config.model, config.text.source, config.output) == ("demo", "demo", "dictionaries/mine")
    assert sizes_of(located(config)).shape.layers == 4
