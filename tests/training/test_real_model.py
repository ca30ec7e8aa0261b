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
    """Some five minutes on a quiet core. For the training only the first two layers are run, of thirty.

    Thresholds are set on a thousand held-out tokens, whose L0 another thousand's is near to a tenth.
    """
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
    assert load_transcoders(str(tmp_path / "dictionary")).n_layers == 2
    for layer in found.layers:
        assert layer.fvu < 0.2
        assert layer.l0 == pytest.approx(32, rel=0.12)
    assert found.model.recovered > 0.9
