from __future__ import annotations

import io
import json
from datetime import datetime

import pytest
from rich.console import Console

from pipeline.runtime.shards.counts import Counts
from pipeline.runtime.telemetry import progress as progress_module
from pipeline.runtime.telemetry.progress import Progress, clock
from pipeline.runtime.workers.messages import ShardReport
from pipeline.store.rows.records import FailedPrompt


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hands = Clock()
    monkeypatch.setattr(progress_module, "time", hands)
    return hands


def test_a_log_gets_a_line_now_and_then(time: Clock) -> None:
    screen = io.StringIO()
    with Progress(Console(file=screen, width=120), counts=Counts(100, already_done=10)) as progress:
        progress.show()
        assert screen.getvalue() == ""
        time.now += 20
        progress.begin()
        progress.show()
        time.now += 20
        progress.begin()
        progress.counts.done, progress.counts.failed = 38, 2
        progress.show()
        progress.show()
    assert screen.getvalue().splitlines() == [
        "10 of 100 prompts, working",
        "50 of 100 prompts, 2 failed, 2.0/s, 25 s left",
    ]


def test_a_line_in_a_log_is_neither_broken_nor_bereft_of_its_brackets() -> None:
    screen = io.StringIO()
    text = "[errno 28] No space left on device: '/mnt/output/edges/file.parquet' " + "and so on " * 20
    Progress(Console(file=screen, width=80)).note(text)
    assert screen.getvalue() == f"{text}\n"


def test_a_log_of_json_has_an_object_a_line(time: Clock) -> None:
    screen = io.StringIO()
    failed = FailedPrompt(12, "q2", 7, "text", "pruning", "ValueError", "what it said\nin two lines")
    with Progress(Console(file=screen, width=40), counts=Counts(4), as_json=True) as progress:
        progress.begin()
        progress.committed(ShardReport(2, "abc", (11,), 1, (failed,)), "10.0.0.1:5")
        progress.note("a worker died", worker="10.0.0.1:5", shards=["def"])
        time.now += 20
        progress.show()
    events = [json.loads(line) for line in screen.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "shard committed",
        "prompt failed",
        "a worker died",
        "progress",
    ]
    assert [event["level"] for event in events] == ["info", "warning", "warning", "info"]
    assert all(datetime.fromisoformat(event["time"]).tzinfo for event in events)
    committed, failure, death, counts = events
    assert (committed["shard"], committed["prompt_keys"]) == ("abc", [11])
    assert (failure["prompt_key"], failure["id"], failure["shard"]) == (12, "q2", "abc")
    assert failure["message"] == "what it said\nin two lines"
    assert (death["worker"], death["shards"]) == ("10.0.0.1:5", ["def"])
    assert (counts["done"], counts["failed"], counts["left"], counts["rate"]) == (1, 1, 2, 0.1)


def test_a_terminal_gets_a_bar(time: Clock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=True, color_system=None)
    with Progress(console, Counts(100)) as progress:
        progress.begin()
        time.now += 10
        progress.counts.done = 50
        progress.show()
        progress.note("something happened")
    assert "50/100 prompts · 0 failed, 5.0/s, 10 s left" in screen.getvalue()
    assert "something happened" in screen.getvalue()
    assert progress.notes == ["something happened"]


def test_without_a_total_no_time_is_promised(time: Clock) -> None:
    progress = Progress(Console(quiet=True))
    progress.begin()
    time.now += 4
    progress.counts.done = 2
    assert progress.detail() == "0 failed, 0.5/s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3660, "1 h 01 min"), (-3, "0 s")]
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
