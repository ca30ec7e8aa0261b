from __future__ import annotations

import re

import pytest

from pipeline.benchmark import store, synthetic
from pipeline.benchmark.report import Settings


def test_the_report_names_every_figure_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"PROMPTS": 4, "PROMPTS_A_SHARD": 2, "EDGES_A_PROMPT": 500}.items():
        monkeypatch.setattr(synthetic, name, size)
    monkeypatch.setattr(store, "PROMPTS", 4)
    monkeypatch.setattr(store, "SAMPLED", 3)
    figures = dict(store.report(Settings(repeats=1)).rows)
    assert figures["edges"] == "2,000"
    assert figures["files, before and after"] == "2 and 1"
    sizes = [float(figure) for name, figure in figures.items() if name.startswith("bytes an edge")]
    assert len(sizes) == 3
    assert all(7 < size < 30 for size in sizes)
    times = [figure for name, figure in figures.items() if "graph" in name or "feature's" in name]
    assert len(times) == 5
    assert all(re.fullmatch(r"\d+\.\d / \d+\.\d ms", time) for time in times)
