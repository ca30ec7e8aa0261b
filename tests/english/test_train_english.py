"""The command, end to end on few texts; and the recipe, on all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.train_english import main
from pipeline.builtin import ENGLISH_FILES
from pipeline.english import train
from pipeline.english.glosses import read_packed
from pipeline.errors import ConfigurationError


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_makes_a_whole_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    shutil.copy(ENGLISH_FILES / "LICENSE-WordNet", texts)
    some = read_packed(ENGLISH_FILES / "glosses.parquet")
    pq.write_table(some.take(list(range(0, some.num_rows, 29))), texts / "glosses.parquet")
    monkeypatch.setattr(train, "ENGLISH_FILES", texts)
    # Of so few held-out texts no class has enough.
    monkeypatch.setattr("pipeline.english.measurement.FEWEST", 5)
    monkeypatch.setattr("pipeline.english.prompts.FEWEST", 15)
    folder = tmp_path / "made"
    assert main(["--output", str(folder), "--epochs", "1", "--steps", "5"]) == 0
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "LICENSE-WordNet",
        "card.json",
        "card.md",
        "glosses.parquet",
        "model/model.safetensors",
        "model/tokenizer.json",
        "prompts.parquet",
        "transcoders/layer_3.safetensors",
        "transcoders/metrics.json",
    }
    found = json.loads((folder / "card.json").read_text())
    assert found["dictionary"]["graphs"]["prompts"] > 20
    assert "noun.person" in {each["label"] for each in found["dictionary"]["classes"]}
    assert "perplexity" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_recipe_reaches_the_goals_again(tmp_path: Path) -> None:
    """Trains the transcoders of the model that ships: some eight minutes on a quiet core."""
    for name in ("model", "glosses.parquet"):
        source = ENGLISH_FILES / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    train.build_transcoders(tmp_path, 0, lambda stage, steps: lambda: None)
    found = train.measure(tmp_path)
    plant = next(each for each in found.classes if each["label"] == "noun.plant")
    assert all(layer["fvu"] <= 0.25 for layer in found.dictionary["layers"])
    assert found.dictionary["model"]["recovered"] >= 0.93
    assert found.dictionary["graphs"]["replacement"] >= 0.8
    assert found.dictionary["graphs"]["completeness"] >= 0.93
    assert plant["f1"] >= 0.62


@pytest.mark.parametrize("option", ["--epochs", "--steps"])
def test_a_count_below_one_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is 0; it must be at least 1"):
        main(["--output", str(tmp_path), option, "0"])
