"""Memory of one worker, estimated from the files of its model and transcoders before anything is loaded."""

from __future__ import annotations

from math import prod
from pathlib import Path

from pipeline.hub import Neurons, Pinned
from pipeline.untrusted import JSON_BYTES, parse_json, read_bounded

BASE_BYTES = 1 << 30
"""Memory of a process that has imported torch and holds one prompt's graph."""

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

WEIGHT_FACTOR = 2.5
"""A model's memory over its files': these are often 16-bit, weights in memory 32-bit, and loading keeps some
of both."""


def bytes_of_worker(
    model: Pinned, transcoders: Pinned, dtype: str = "float32", lazy_encoder: bool = False
) -> int | None:
    """Estimate the memory of one worker from its files; None where they are not on this machine.

    Of a dictionary only encoders are held, in the precision of the rows; decoders stay in their files.
    """
    neurons = Neurons.named(transcoders.name) is not None
    if model.folder is None or (transcoders.folder is None and not neurons):
        return None
    from pipeline.transcoders import load_transcoders  # with torch, which nothing else in a driver needs

    weights = _expansion(model.folder) * sum(
        path.stat().st_size for path in model.folder.rglob("*.safetensors")
    )
    held = 0
    if not lazy_encoder and not neurons:  # which are the model's own weights
        layers = load_transcoders(str(transcoders.folder), lazy_encoder=True).layers
        held = sum(prod(layer.encoder.shape) for layer in layers) * ELEMENT_BYTES[dtype]
    return int(BASE_BYTES + WEIGHT_FACTOR * weights + held)


def _expansion(folder: Path) -> float:
    """Return how much larger a model's 16-bit weights are than its files, where these are quantised."""
    from pipeline.model import EXPANSION

    try:
        config = parse_json(read_bounded(folder / "config.json", JSON_BYTES))
        return EXPANSION.get(config["quantization_config"]["quant_method"], 1.0)
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0  # what is wrong with it, loading says
