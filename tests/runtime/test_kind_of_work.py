"""A kind of work of a page: all that it inherits, on a real Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs import compact, query, schema, status, verify
from jobs.cli import run_command
from pipeline.errors import StoreError
from pipeline.results import Results
from pipeline.runtime import Counts, Item, RunReport, WorkersConfig, output_of, read_status, run_work
from pipeline.runtime.telemetry import Progress
from pipeline.runtime.telemetry.metrics import Tally
from pipeline.store import Output
from pipeline.store.commits import run_key, text_key
from pipeline.store.commits.runs import read_reports
from pipeline.store.verify.checks import verify_output
from tests.support.sweeps import wait_for
from tests.support.word_counts import CountWords

TEXTS = [*(f"a text of {number} a" for number in range(9)), "this strikes once", "", "a text of 3 a"]
DONE = Counts(total=12, read=12, done=10, failed=1, repeated=1)
ROWS = {"words": 11, "failures": 1}
ONE = WorkersConfig(replicas=1, cores_per_replica=1)


def open_output(folder: Path) -> Output:
    output = output_of(CountWords(str(folder)), str(folder / "output"))
    output.claim({"kind": "words"}, run_key({"kind": "words"}))
    return output


def count_words(
    folder: Path, address: str | None, texts: list[str] = TEXTS, progress: Progress | None = None
) -> RunReport:
    items = [Item(key=text_key(text), id=f"t{number}", text=text) for number, text in enumerate(texts)]
    progress = progress or Progress(Console(quiet=True))
    progress.counts.total = len(items)
    output = open_output(folder)
    return run_work(CountWords(str(folder)), items, output, ONE, progress, address=address, shard_size=4)


def assert_counted(output: Output, texts: list[str]) -> None:
    """Find each text once, and nothing wrong with the files."""
    expected = {(text_key(text), len(text.split()), len(set(text.split()))) for text in texts if text}
    rows = output.dataset("words").to_table().to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == sorted(expected)
    part = verify_output("words", output, quick=False, advance=lambda done, of: None)
    assert (part.problems, part.orphans) == ([], [])


def test_a_new_kind_of_work_inherits_everything(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: Counter[str] = Counter()
    monkeypatch.setattr(Tally, "add", lambda tally, values: told.update(values))
    progress = Progress(Console(quiet=True))
    report = count_words(tmp_path, address, progress=progress)
    output = open_output(tmp_path)

    # A worker was killed, and its shards were done by another.
    assert (tmp_path / "struck").exists()
    assert any("a worker died" in note for note in report.notes)
    assert (report.state, report.counts, report.exit_code) == ("finished", DONE, 1)
    assert dict(report.repeated_keys) == {"t11": text_key("a text of 3 a")}
    assert_counted(output, TEXTS)
    (failure,) = output.dataset("failures").to_table().to_pylist()
    assert (failure["id"], failure["stage"], failure["message"]) == ("t10", "read", "no words")

    # Published, told to Prometheus, and seen by `status`.
    assert report.published == {"words": 0, "failures": 0}
    assert (told["graph"], told["failure"]) == (10, 1)
    assert told["words"] > 10  # rows and bytes by table
    assert told["work"] > 0  # seconds by phase
    found = read_status(output)
    assert (found.state, found.left, found.total, found.committed.graphs) == ("finished", 0, 12, 10)
    assert all(worker.is_gone for worker in found.workers)

    # What a library warned of in each worker reaches the user once, with a worker's name.
    (warning,) = [note for note in report.notes if "these words are old" in note]
    assert "worker " in warning

    # Started again it finds nothing to do, and with another text only that; no cluster is asked for nothing.
    again = count_words(tmp_path, "ray://nowhere:1")
    assert again.counts == Counts(total=12, read=12, already_done=10, already_failed=1, repeated=1)
    more = count_words(tmp_path, address, [*TEXTS, "one more"])
    assert (more.counts.done, more.published) == (1, {"words": 1})
    assert_counted(output, [*TEXTS, "one more"])
    assert_commands_know(output.url, capsys)


def assert_commands_know(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Find the ordinary commands at home in an output whose kind none of them has heard of."""

    def said(command: Callable[[list[str]], int], *arguments: str) -> str:
        capsys.readouterr()
        assert command([*arguments]) == 0
        return capsys.readouterr().out

    assert said(query.main, url, "select sum(words) from words", "--format", "csv").split() == [
        "sum(words)",
        str(sum(len(text.split()) for text in {*TEXTS, "one more"})),
    ]
    assert (
        said(query.main, url, "select message from failures", "--format", "csv").split("\n")[1] == "no words"
    )
    assert "words 1, failures 0; published" in said(status.main, url)
    assert "11 graphs, 1 failed" in said(status.main, url)
    report = json.loads(said(verify.main, url, "--format", "json"))
    assert {name: part["rows"] for name, part in report["parts"][0]["tables"].items()} == ROWS
    assert "Different words of the text" in said(schema.main, "--of", url)
    assert "words" in said(compact.main, url, "--vacuum")
    assert said(verify.main, url).endswith("sound (every file and row checked)\n")
    results = Results(url)
    assert results.tables == ["words", "failures"]
    assert {name: results.dataset(name).count_rows() for name in results.tables} == ROWS
    assert Results(url, at=2).dataset("words").count_rows() == ROWS["words"]


@pytest.mark.faults
def test_a_text_that_always_kills_is_found_among_its_neighbours(tmp_path: Path, address: str) -> None:
    texts = ["one", "two", "this kills", "three"]
    report = count_words(tmp_path, address, texts)
    assert (report.counts.done, report.counts.failed) == (3, 1)
    (failure,) = open_output(tmp_path).dataset("failures").to_table().to_pylist()
    assert (failure["text"], failure["error_class"], failure["attempts"]) == ("this kills", "WorkerDied", 2)
    assert_counted(open_output(tmp_path), ["one", "two", "three"])


def test_exit_codes_are_those_of_every_kind_of_work(tmp_path: Path, address: str) -> None:
    def command(texts: list[str]) -> int:
        return run_command(lambda argv: count_words(tmp_path, address, texts).exit_code)

    assert command(["one", "two"]) == 0
    assert command(["one", ""]) == 1
    (tmp_path / "output" / "words").rename(tmp_path / "elsewhere")
    (tmp_path / "output" / "words").write_text("a file where a folder is needed")
    assert command(["three"]) == 2
    reports = list(read_reports(open_output(tmp_path).folder))
    assert [report.state for report in reports] == ["StoreError", "finished", "finished"]
    assert "words" in (reports[0].error or "")


SLOW = """
import sys, time
from pathlib import Path
from jobs import compact, query, schema, status, verify
from jobs.cli import run_command
from tests.runtime import test_kind_of_work as here
folder, address = Path({folder!r}), {address!r}
texts = [f"text {{number}}" for number in range(3000)]
sys.exit(run_command(lambda argv: here.count_words(folder, address, texts).exit_code))
"""


def test_an_interrupted_run_says_so_and_is_gone_on_with(tmp_path: Path, address: str) -> None:
    root = str(Path(__file__).parents[2])
    code = SLOW.format(folder=str(tmp_path), address=address)
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": root}
    run = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment)
    output = open_output(tmp_path)
    wait_for(lambda: any(output.committed()), run)
    assert read_status(output).state == "running"
    with pytest.raises(StoreError, match="is being written"):
        count_words(tmp_path, address)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    (stored,) = (tmp_path / "output" / "_runs").glob("*.json")
    assert json.loads(stored.read_text())["state"] == "KeyboardInterrupt"
    found = read_status(output)
    assert (found.state, found.total) == ("interrupted", 3000)
    assert 0 < found.left < 3000
