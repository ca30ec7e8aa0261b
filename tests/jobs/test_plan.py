"""The plan command as a user runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from jobs.cli import run_command
from jobs.plan import main
from tests.support.tiny_model import make_model, make_transcoders, sentence


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    lines = [sentence(i, 3 + i % 4) for i in range(40)]
    (folder / "prompts.txt").write_text("\n".join([*lines, lines[7], "Dallas"]))
    sweep = {
        "model": make_model(folder / "model"),
        "transcoders": make_transcoders(folder / "transcoders"),
        "prompts": str(folder / "prompts.txt"),
        "output": str(folder / "output"),
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    return folder / "sweep.yaml"


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A plan takes as many threads as a worker would."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_a_plan_is_one_table(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--sample", "6", "--workers.replicas", "3", "--workers.cores-per-replica", "1"]
    assert run_command(main, [str(sweep_file), *options]) == 0
    printed = capsys.readouterr().out
    for pattern in (
        r"prompts to trace +│ +│ +40 │",
        r"active features +│ +[\d,]+ │ +[\d,]+ │ +±\d+%",
        r"rows +│ +[\d,]+ │ +[\d,]+ │ +±\d+%",
        r"output +│ +[\d.]+ kB │ +[\d.]+ kB │",
        r"time on 3 replicas, without start-up +│ +│ +\d+ s │ +±\d+%",
        r"peak memory, device and host +│ +│ +[\d.]+ [MG]B",
        r"block size, pairs +│ +│ +[\d,]+ │",
        r"From 6 traced prompts of 4 to 7 positions",
        r"1 repeated prompts, 1 that cannot be traced",
    ):
        assert re.search(pattern, printed), pattern
    assert not (sweep_file.parent / "output").exists()


def test_a_plan_names_ids_that_prompts_share(
    sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": name, "prompt": sentence(i)} for i, name in enumerate("abca")]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = ["--sample", "1", "--prompts.source", str(tmp_path / "prompts.jsonl")]
    assert run_command(main, [str(sweep_file), *options]) == 0
    assert re.search(r"^Same id: 1 with .*: a \(2 prompts\)", capsys.readouterr().out, flags=re.MULTILINE)


def test_a_plan_for_programs(sweep_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(main, [str(sweep_file), "--sample", "2", "--format", "json"]) == 0
    figures = {row["figure"]: row for row in json.loads(capfd.readouterr().out)}
    assert figures["prompts to trace"]["whole_sweep"] == 40
    assert figures["active features"]["per_prompt"] * 40 == pytest.approx(
        figures["active features"]["whole_sweep"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sample", "0"], "--sample is 0; it must be at least 1"),
        (["--model", "nobody/nothing"], "model 'nobody/nothing' not found"),
        (["--attribution.targets.tokens", "w1 w2"], "'w1 w2' is 2 tokens"),
        (["--output", "ftp://host/path"], "ftp:// is not supported"),
        (["--output", "s3://bucket/run[1]"], "stand for others"),
    ],
)
def test_errors_are_those_of_run(
    sweep_file: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert run_command(main, [str(sweep_file), *options]) == 2
    assert message in capsys.readouterr().err
