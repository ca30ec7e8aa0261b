"""`transcoders: neurons`, through the commands as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import ReplacementModel, attribute
from tests.support.commands import command
from tests.support.tiny_model import make_model, sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neurons")
    rows = [{"id": f"q{i}", "prompt": sentence(i)} for i in range(3)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sweep = {
        "model": make_model(folder / "model"),
        "transcoders": "neurons:9",
        "prompts": str(folder / "prompts.jsonl"),
        "output": str(folder / "output"),
        "workers": {"replicas": 1},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    finished = command("run", folder / "sweep.yaml")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


def _rows(table: Path) -> list[dict[str, Any]]:
    return [row for path in table.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]


def test_a_sweep_has_the_graphs_of_the_api(folder: Path):
    model = ReplacementModel.from_pretrained(str(folder / "model"), transcoders="neurons:9", device="cpu")
    graph = attribute(model, sentence(1))
    assert len(graph.active_features) == 2 * 9 * (graph.n_positions - 1)
    (row,) = (row for row in _rows(folder / "output" / "graphs") if row["id"] == "q1")
    assert row["replacement_score"] == pytest.approx(graph.scores()[0], abs=1e-5)
    stored = [row for row in _rows(folder / "output" / "activations") if row["id"] == "q1"]
    assert len(stored) == len(graph.active_features)


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "sweep.yaml", "--dtype", "bfloat16", "--output", "elsewhere"),
        ("show", "output", "--prompt", "q1"),
        ("validate", "output"),
        ("export", "output", "--prompt", "q1", "--output", "graphs"),
        ("verify", "output"),
    ],
    ids=lambda words: words[0],
)
def test_other_commands_need_no_dictionary_either(folder: Path, words: tuple[str, ...]):
    places = {"sweep.yaml", "output", "graphs", "elsewhere"}
    words = tuple(str(folder / word) if word in places else word for word in words)
    done = command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
