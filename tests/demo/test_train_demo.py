"""The command, end to end in a tiny setting."""

import json
from pathlib import Path

import pytest

from jobs.train_demo import main
from pipeline.demo import train as build
from pipeline.demo.corpus.corpus import evaluation_examples
from pipeline.errors import ConfigurationError


def test_the_command_makes_a_whole_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = evaluation_examples(seed=3, per_word_family=5)[::40]
    monkeypatch.setattr(build, "evaluation_examples", lambda seed: sample)
    arguments = ["--output", str(tmp_path), "--steps", "2", "--traced-prompts", "2", "--seed", "3"]
    assert main(arguments) == 0
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names >= {
        "card.json",
        "card.md",
        "prompts.parquet",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "transcoders/config.yaml",
        "transcoders/layer_3.safetensors",
    }
    found = json.loads((tmp_path / "card.json").read_text())
    assert found["graphs"]["all"]["prompts"] == 2
    assert "two_hop" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--steps", "--traced-prompts"])
def test_a_count_below_one_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is 0; it must be at least 1"):
        main(["--output", str(tmp_path), option, "0"])
