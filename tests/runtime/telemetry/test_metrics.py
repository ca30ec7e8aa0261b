"""What Ray is told of a sweep, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ray.util.metrics import Counter

from pipeline.runtime.shards.shard import Item
from pipeline.runtime.telemetry import metrics as module
from pipeline.runtime.telemetry.metrics import Metrics
from pipeline.runtime.workers.messages import ShardReport
from pipeline.seconds import Seconds

Told = list[tuple[str, float, tuple[str, str] | None]]

FAILED = Item(key=1, id="q1").failed(7, "tokenize", ValueError("no tokens"))
REPORT = ShardReport(
    done=3,
    with_rows=2,
    shard="s",
    failed=(FAILED,),
    rows={"edges": 5, "nodes": 0},
    bytes={"edges": 70},
    seconds=Seconds(rows=0.5),
)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Every increase of a counter: its name, by how much, and the value of its label."""
    told: Told = []

    def note(counter: Counter, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        labels = dict(tags or {})
        assert labels.pop("output") == "here"
        told.append(
            (counter.info["name"].removeprefix(module.PREFIX), value, next(iter(labels.items()), None))
        )

    monkeypatch.setattr(Counter, "inc", note)
    return told


def once(times: int) -> set[Any]:
    return {
        ("prompts", 2 * times, ("outcome", "graph")),
        ("prompts", 1 * times, ("outcome", "failure")),
        ("seconds", 0.5 * times, ("phase", "rows")),
        ("rows", 5 * times, ("table", "edges")),
        ("bytes", 70 * times, ("table", "edges")),
    }


def test_what_was_committed_is_told_once_as_a_sum(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 3600.0)
    metrics = Metrics("here")
    metrics.committed(REPORT)  # the first at once
    assert (set(told), len(told)) == (once(1), 5)
    told.clear()
    for _ in range(3):
        metrics.committed(REPORT)
    assert told == []
    for _ in range(2):
        metrics.show(0, {})
    assert (set(told), len(told)) == (once(3), 5)


def test_what_was_committed_is_told_soon(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 0.0)
    metrics = Metrics("here")
    for _ in range(2):
        metrics.committed(REPORT)
    assert (set(told), len(told)) == (once(1), 10)


def test_an_interruption_tells_nothing_twice(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, inc = Metrics("here"), Counter.inc

    def interrupted(*arguments: Any) -> None:
        inc(*arguments)
        monkeypatch.setattr(Counter, "inc", inc)
        raise KeyboardInterrupt

    monkeypatch.setattr(Counter, "inc", interrupted)
    with pytest.raises(KeyboardInterrupt):
        metrics.committed(REPORT)
    metrics.show(0, {})
    assert (set(told), len(told)) == (once(1), 5)


def test_a_death_is_told_at_once(told: Told) -> None:
    Metrics("here").died()
    assert told == [("worker_deaths", 1, None)]
