from __future__ import annotations

from pathlib import Path

from pipeline.hub import Pinned, pin
from pipeline.sweep.memory import bytes_of_worker
from tests.support.tiny_model import FEATURES, LAYERS, WIDTH


def test_a_worker_holds_the_model_and_the_encoders_but_no_decoders(model_folder: Path) -> None:
    model = pin(str(model_folder / "model"), "model")
    transcoders = pin(str(model_folder / "transcoders"), "transcoders")
    weights = sum(path.stat().st_size for path in model.folder.rglob("*.safetensors"))
    encoders = LAYERS * FEATURES * WIDTH
    assert bytes_of_worker(model, transcoders) == int((1 << 30) + 2.5 * weights + 4 * encoders)
    assert bytes_of_worker(model, transcoders, "bfloat16") == int((1 << 30) + 2.5 * weights + 2 * encoders)
    assert bytes_of_worker(model, transcoders, lazy_encoder=True) == int((1 << 30) + 2.5 * weights)
    assert bytes_of_worker(model, pin("neurons:4", "transcoders")) == int((1 << 30) + 2.5 * weights)
    assert bytes_of_worker(model, Pinned("org/set@0", None, {})) is None
