"""The small circuit beside simpler choices of as many features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import ReplacementModel, attribute
from pipeline.benchmark import Settings, small_circuits
from pipeline.benchmark.engine.extras import extras
from pipeline.benchmark.planted import write_planted


def test_a_planted_circuit_is_necessary_and_enough(tmp_path: Path) -> None:
    write_planted(tmp_path, 0.05)
    model = ReplacementModel.from_pretrained(str(tmp_path), transcoders="neurons", device="cpu")
    found = small_circuits.tested(model, "capital of Dallas is", "two hops", np.random.default_rng(0))
    assert found is not None
    small, by_norm = (found.measures[small_circuits.CHOICES.index(name)] for name in ("small", "write norm"))
    completeness, *_, necessity, sufficiency = small
    assert completeness > 0.95
    assert necessity > 0.9
    assert sufficiency > 0.9
    # Distractors write most of all neurons, and nothing reads them.
    assert by_norm[-2] < necessity
    assert by_norm[0] < completeness
    assert found.sizes[:4] == (found.sizes[0],) * 4


def test_the_table_has_every_choice_and_the_lead_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_circuits, "PROMPTS", 5)
    monkeypatch.setattr(small_circuits, "NAMES", ("demo",))
    found = small_circuits.report(Settings())
    assert [row[0] for row in found.rows[2::2]] == [
        f"  small less {name}" for name in small_circuits.CHOICES[1:]
    ]
    assert {len(row) for row in found.rows} == {len(found.columns)}
    small, *others = (float(row[2].split()[0]) for row in found.rows if "less" not in row[0])
    of_influence, by_norm, of_any, _ = others  # completeness; thresholds keep more features
    assert small >= of_influence > max(by_norm, of_any)


def test_extras_have_their_seconds_and_bytes() -> None:
    model = ReplacementModel.from_pretrained("demo", transcoders="demo", device="cpu")
    found = extras(model, attribute(model, "Lincoln is the capital of"))
    loadings, scores, reconstruction, constants = found.values()
    assert min(loadings.seconds, scores.seconds, constants.seconds) > 0
    assert constants.n_bytes < reconstruction.n_bytes < loadings.n_bytes < 100_000
    assert 0 < scores.n_bytes < 100_000
