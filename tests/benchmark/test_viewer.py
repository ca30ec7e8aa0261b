from __future__ import annotations

import pytest

from pipeline.benchmark import synthetic, viewer
from pipeline.benchmark.report import Settings


def test_every_endpoint_with_a_budget_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {
        "PROMPTS": 60,
        "PROMPTS_A_SHARD": 30,
        "EDGES_A_PROMPT": 50,
        "ACTIVATIONS": 700,
    }.items():
        monkeypatch.setattr(synthetic, name, size)
    monkeypatch.setattr(viewer, "SAMPLED", 2)
    report = viewer.report(Settings(repeats=1))
    assert [row[0] for row in report.rows] == list(viewer.BUDGETS)
    sizes = {row[0]: int(row[-1].replace(",", "")) for row in report.rows}
    assert min(sizes.values()) > 20
    assert sizes["busiest feature"] > sizes["feature"]
    assert all(float(row[1]) <= float(row[2]) and float(row[4]) > 0 for row in report.rows)
