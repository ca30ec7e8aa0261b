"""The bench of training: this project's rows always, peers' where an interpreter has them."""

import sys

import pytest

from pipeline.benchmark import Settings, training
from pipeline.errors import ConfigurationError


@pytest.fixture(autouse=True)
def a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STEPS", 6)


def test_without_peers_this_project_alone_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CONTESTANTS", training.CONTESTANTS[1:6])
    report = training.report(Settings())
    ((trainer, kind, _, rate, fvu, l0, dead, megabytes),) = report.rows
    assert trainer.startswith("circuit-sweep ")
    assert kind == "skip"
    assert 0 < float(fvu) < 2
    # Thresholds are set on held-out text: L0 is k whatever the weights.
    assert float(l0) == pytest.approx(training.K, abs=1.5)
    assert 0 <= int(dead.replace(",", "")) <= training.FEATURES
    assert float(rate.replace(",", "")) > 0
    assert float(megabytes.replace(",", "")) > 0
    assert "--peer PYTHON" in report.remarks


def test_an_interpreter_without_the_peers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CONTESTANTS", training.CONTESTANTS[1:2])
    with pytest.raises(ConfigurationError, match=r"No module named 'sae_lens'.*pip install sae-lens"):
        training.report(Settings(peer=sys.executable))
