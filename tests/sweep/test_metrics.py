"""What Ray is told of a sweep, and when."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from ray.util.metrics import Counter

from pipeline.sweep.metrics import Metrics
from pipeline.sweep.reports import ShardReport

Told = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Every increase of a counter."""
    told: Told = []

    def note(counter: Counter, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        told.append((counter.info["name"], value, dict(tags or {})))

    monkeypatch.setattr(Counter, "inc", note)
    return told


def test_what_was_committed_is_told_once_as_a_sum(told: Told) -> None:
    metrics = Metrics("here")
    for rows in (2, 3):
        metrics.committed(ShardReport(1, graphs=1, shard="s", rows={"edges": rows, "nodes": 0}, bytes={}))
    assert told == []
    for _ in range(2):
        metrics.show(0, {})
    output = {"output": "here"}
    assert told == [
        ("circuit_sweep_prompts", 2, output | {"outcome": "graph"}),
        ("circuit_sweep_rows", 5, output | {"table": "edges"}),
    ]


def test_a_death_is_told_at_once(told: Told) -> None:
    Metrics("here").died()
    assert told == [("circuit_sweep_worker_deaths", 1, {"output": "here"})]
