from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.sweep import progress as progress_module
from pipeline.sweep.progress import Progress, clock


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
    with Progress(Console(file=screen, width=120), total=100, skipped=lambda: 10) as progress:
        progress.show()
        assert screen.getvalue() == ""
        time.now += 20
        progress.begin()
        progress.show()
        time.now += 20
        progress.begin()
        progress.add(38, 2)
        progress.show()
        progress.show()
    assert screen.getvalue().splitlines() == [
        "10 of 100 prompts, working",
        "50 of 100 prompts, 2 failed, 2.0/s, 25 s left",
    ]


def test_a_terminal_gets_a_bar(time: Clock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=True, color_system=None)
    with Progress(console, total=100) as progress:
        progress.begin()
        time.now += 10
        progress.add(50, 0)
        progress.show()
        progress.note("something happened")
    assert "50/100 prompts · 0 failed, 5.0/s, 10 s left" in screen.getvalue()
    assert "something happened" in screen.getvalue()
    assert progress.notes == ["something happened"]


def test_without_a_total_no_time_is_promised(time: Clock) -> None:
    progress = Progress(Console(quiet=True))
    progress.begin()
    time.now += 4
    progress.add(2, 0)
    assert progress.detail() == "0 failed, 0.5/s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3660, "1 h 01 min"), (-3, "0 s")]
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
