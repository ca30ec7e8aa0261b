"""The demo's recipe, trained again on the model that ships, against the card of the transcoders that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.builtin import FILES
from pipeline.demo.corpus.corpus import Corpus, evaluation_examples
from pipeline.demo.measurement.measure import load_files, measure, trace
from pipeline.demo.recipe import Recipe
from pipeline.demo.train import build_transcoders
from pipeline.transcoders import load_transcoders


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_recipe_reaches_the_card(tmp_path: Path, card: dict[str, Any]) -> None:
    """About four minutes on a quiet core. Only two layers have more dead features."""
    for name in ("model", "prompts.parquet"):
        (tmp_path / name).symlink_to(FILES / name)
    build_transcoders(tmp_path, Corpus(0), Recipe(), lambda stage, steps: lambda: None)
    assert load_transcoders(str(tmp_path / "transcoders")).name == "circuit-sweep-demo"
    files = load_files(tmp_path)
    found = measure(files, evaluation_examples(seed=0))
    for layer, states, shown, stated in zip(
        found.layers, found.states_with_features, card["states_with_features"], card["layers"], strict=True
    ):
        assert layer.fvu <= stated["fvu"]
        assert layer.l0 <= 1.05 * stated["l0"]
        assert states >= shown
    for family, sides in card["accuracy_replaced"].items():
        for side, share in sides.items():
            assert found.accuracy_replaced[family][side] >= share - 0.015
    scores = trace(tmp_path, files.prompts[::4])["all"]
    assert scores.replacement >= card["graphs"]["all"]["replacement"]
    assert scores.completeness >= card["graphs"]["all"]["completeness"]
