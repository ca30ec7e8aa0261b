"""What users call their prompts, and what stands in them, names no file and breaks no log."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from jobs import run
from pipeline.store.output import Output
from pipeline.store.verify.checks import verify
from pipeline.sweep.config import SweepConfig
from tests.support.sweeps import Make, prompts
from tests.support.tiny_model import sentence, tiny_config

HOSTILE = (
    "../../x",
    "/etc/passwd",
    "..",
    "nul\0byte",
    "line\nbreak",
    "C:\\x",
    "~root",
    "%2e%2e%2fx",
    "a" * 10_000,
    "s3://bucket/x",
    "-rf",
    "\u202egnp.x",
)

OURS = re.compile(
    r"_(sweep|progress)\.json|_commits/[0-9a-f]{32}\.json|_runs/[0-9TZ.]+\.json"
    r"|(graphs|nodes|edges|head_loadings|qk|activations|reconstruction|failures)/"
    r"((_data/)?[0-9a-f]{32}-[0-9]+-[0-9a-f]{8}\.parq(uet)?|_delta_log/[0-9]{20}\.json)"
)


@dataclass(frozen=True)
class Logged:
    """A finished sweep over hostile names, and what it said on the way."""

    config: SweepConfig
    out: str
    events: list[dict[str, Any]]
    strays: set[Path]
    """Files that it left beside its output."""


@pytest.fixture(scope="module")
def logged(tiny: Path, address: str, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("hostile")
    data = [{"id": name, "prompt": sentence(number), "family": name} for number, name in enumerate(HOSTILE)]
    data += [{"id": f"text {name}", "prompt": name, "family": name} for name in HOSTILE]
    config = tiny_config(tiny, data, folder, prompts={"columns": ["family"]})
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json")))  # which is YAML too
    before = set(folder.rglob("*"))
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        assert run.main([str(path), "--log-format", "json", "--address", address]) == 1
    events = [json.loads(line) for line in err.getvalue().splitlines()]
    left = {path for path in folder.rglob("*") if not path.is_relative_to(config.output)}
    return Logged(config, out.getvalue(), events, left - before)


def test_hostile_ids_and_prompts_stay_in_the_tables(logged: Logged) -> None:
    folder = Path(logged.config.output)
    assert logged.strays == set()
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert [name for name in names if not OURS.fullmatch(name)] == []
    output = Output(folder)
    assert set(output.dataset("graphs").to_table()["id"].to_pylist()) == set(HOSTILE)
    assert set(output.dataset("failures").to_table()["text"].to_pylist()) == set(HOSTILE)
    assert verify(folder).sound


def test_a_log_of_json_is_json_from_its_first_line_to_its_last(logged: Logged) -> None:
    events = logged.events
    assert logged.out == ""
    assert events[0]["event"] == "sweep started"
    assert events[-1]["event"] == "sweep finished"
    found = (events[-1]["done"], events[-1]["failed"], events[-1]["state"])
    assert found == (len(HOSTILE), len(HOSTILE), "finished")
    committed = {event["shard"]: event for event in events if event["event"] == "shard committed"}
    for marker in Output(logged.config.output).committed():
        event = committed.pop(marker.shard)
        assert event["prompt_keys"] == list(marker.prompt_keys)
        assert event["worker"] == marker.worker
    assert committed == {}
    failed = [event for event in events if event["event"] == "prompt failed"]
    assert sorted(event["id"] for event in failed) == sorted(f"text {name}" for name in HOSTILE)
    assert {(event["stage"], event["error_class"]) for event in failed} == {("tokenize", "PromptError")}


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
