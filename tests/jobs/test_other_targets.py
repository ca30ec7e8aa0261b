"""Sweeps whose targets are no tokens, through every command that reads their graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import Command
from tests.support.tiny_model import sentence, tiny_config

DIFFERENCE = {"difference": ["w5", "w6"]}
FEATURES = {"features": ["0/3@-1", "1/5@-1"]}


@pytest.fixture(params=[DIFFERENCE, FEATURES], ids=["difference", "features"])
def targets(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def labels_of(targets: dict[str, Any], last: int) -> list[str]:
    """The labels of the targets in a prompt whose last position is `last`."""
    return ["w5 - w6"] if targets is DIFFERENCE else [f"0/3@{last}", f"1/5@{last}"]


def test_targets_that_are_no_tokens_pass_through_every_command(
    targets: dict[str, Any],
    tiny: Path,
    tmp_path: Path,
    address: str,
    here: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)

    def called(*words: object, code: int = 0) -> str:
        done = here(*words)
        assert done.returncode == code, done.stderr
        return done.stdout

    rows = [{"id": f"q{i}", "prompt": sentence(i), "family": f"f{i % 2}"} for i in range(4)]
    rules = {"prompts": {"columns": ["family"]}, "attribution": {"targets": targets}}
    config = tiny_config(tiny, rows, tmp_path, **rules)
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    output, again = tmp_path / "output", tmp_path / "again"
    called("run", file)
    called("run", file, "--output", again)
    called("verify", output)

    expected = labels_of(targets, last=5)
    asked = called("query", output, "select targets from graphs", "--format", "json")
    assert [[target["label"] for target in row["targets"]] for row in json.loads(asked)] == [expected] * 4
    indices = "select distinct target_index from edges where target_kind = 'logit' order by 1"
    found = json.loads(called("query", output, indices, "--format", "json"))
    assert [row["target_index"] for row in found] == list(range(len(expected)))

    shown = called("show", output, "--prompt", "q2")
    assert any(label in shown for label in expected)
    called("export", output, "--output", tmp_path / "viewer", "--prompt", "q2")
    (graph,) = (json.loads(path.read_text()) for path in (tmp_path / "viewer").glob("*q2*.json"))
    explained = [node for node in graph["nodes"] if node["feature_type"] == "logit"]
    assert len({node["node_id"] for node in explained}) == len(expected)
    assert [label for label in expected if not any(label in node["clerp"] for node in explained)] == []

    assert json.loads(called("diff", output, again, "--format", "json"))
    called("aggregate", output, "--by", "family", "--min-support", "1")
    called("aggregate", output, "--of", "pairs", "--min-support", "1")
    stats = "select count(*) as n from edge_stats where target_kind = 'logit' and support > 0"
    assert json.loads(called("query", output, stats, "--format", "json"))[0]["n"] > 0
