"""The sleeping sweep, small: every figure is there, and every shard."""

from __future__ import annotations

import re

import pytest

from pipeline.benchmark import driver
from pipeline.benchmark.report import Settings
from pipeline.errors import ConfigurationError
from pipeline.store.output import Output


@pytest.mark.slow
def test_a_small_sleeping_sweep_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, value in {"WORKERS": 2, "PROMPTS_A_SHARD": 5, "SHARD_SECONDS": 0.1}.items():
        monkeypatch.setattr(driver, name, value)
    folder = str(tmp_path_factory.mktemp("bench") / "output")
    report = driver.report(Settings(shards=8, output=folder))
    figures = dict(report.rows)
    assert figures["shards, prompts"] == "8, 40"
    assert 1 <= int(figures["workers"]) <= 2
    assert 0 < float(figures["throughput against ideal"].rstrip("%")) <= 100
    assert re.fullmatch(r"\d+\.\d\d ms", figures["driver's CPU a shard"])
    assert re.fullmatch(r"\d+%", figures["  share of the cores' busy time that the machine's host took away"])
    assert len(figures["driver's memory: first shard, after a tenth, last, most"].split(",")) == 4
    markers = list(Output(folder).committed())
    assert sum(len(marker.prompt_keys) for marker in markers) == 40
    assert all(marker.rows == {"graphs": 5} for marker in markers)
    with pytest.raises(ConfigurationError, match="holds a sweep already"):
        driver.report(Settings(shards=8, output=folder))
