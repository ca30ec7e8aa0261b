"""Two layers of a real English model, trained on WordNet's definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.builtin import ENGLISH_FILES
from pipeline.training import DictionaryConfig, train_dictionary
from pipeline.transcoders import load_transcoders
from tests.support.smollm2 import make_smollm2

pytest.importorskip("gguf")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_layers_of_smollm2(tmp_path: Path) -> None:
    """Some three minutes on a quiet core. Only the two layers are run for their training, of thirty."""
    make_smollm2(tmp_path)
    config = DictionaryConfig.model_validate(
        {
            "model": str(tmp_path / "model"),
            "layers": 2,
            "features": 1152,
            "k": 32,
            "text": {"source": str(ENGLISH_FILES / "glosses.parquet"), "held_out": 0.01, "context": 64},
            "tokens": 150 * 1024,
            "batch": 1024,
            "buffer": 16_384,
            "evaluation": 4_000,
            "output": str(tmp_path / "unused"),
            "device": "cpu",
        }
    )
    found = train_dictionary(config, tmp_path / "dictionary", tmp_path / "tokens")
    print([(layer.layer, layer.fvu, layer.l0, layer.dead) for layer in found.layers], found.model)
    assert load_transcoders(str(tmp_path / "dictionary")).n_layers == 2
    for layer in found.layers:
        assert layer.fvu < 0.5
        assert layer.l0 == pytest.approx(32, rel=0.05)
    assert found.model.recovered > 0.8
