"""What `run` leaves in a log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import run
from pipeline.store import Output
from tests.sweep.test_sweep import Make, prompts


def test_a_log_of_json_is_json_from_its_first_line_to_its_last(
    make_config: Make,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    config = make_config([*prompts(6), {"id": "empty", "prompt": ""}])
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json")))  # which is YAML too
    assert run.main([str(path), "--log-format", "json", "--address", address]) == 1
    logged = capsys.readouterr()
    events = [json.loads(line) for line in logged.err.splitlines()]
    assert logged.out == ""
    assert events[0]["event"] == "sweep started"
    assert events[-1]["event"] == "sweep finished"
    assert (events[-1]["graphs"], events[-1]["failures"], events[-1]["state"]) == (6, 1, "finished")
    committed = {event["shard"]: event for event in events if event["event"] == "shard committed"}
    for marker in Output(config.output).committed():
        event = committed.pop(marker.shard)
        assert event["prompt_keys"] == list(marker.prompt_keys)
        assert event["worker"] == marker.info["worker"]
    assert committed == {}
    (failed,) = [event for event in events if event["event"] == "prompt failed"]
    assert (failed["id"], failed["stage"], failed["error_class"]) == ("empty", "tokenize", "PromptError")


def test_an_error_is_a_line_of_json_too(
    make_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = make_config(prompts(1))
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json")))
    arguments = [str(path), "--log-format", "json", "--prompts.source", str(tmp_path / "nothing.jsonl")]
    assert run.main(arguments) == 2
    *_, last = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (last["event"], last["level"]) == ("sweep stopped", "error")
    assert "nothing.jsonl" in last["message"]
