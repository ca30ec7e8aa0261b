"""The built-in model, its transcoders and its prompts; how they were trained stands beside them.

A user writes the word `demo` where a name or a path is expected, and `resolve` turns it into the path
of the files that ship with the package. Only paths live here, so importing this costs nothing.
"""

from pathlib import Path
from typing import Literal

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "card": ["accuracy_rows", "graph_rows", "layer_rows"],
        "measure": ["Measurements"],
        "recipe": ["Recipe"],
        "state_study": ["Ablation", "SHARES", "Study", "Swap", "ablate_states", "swap_states"],
        "train": ["Progress", "build"],
        "train_model": ["ModelTraining"],
        "train_transcoders": ["TranscoderTraining"],
    },
)

FILES = Path(__file__).parent / "files"
"""What ships: `model/`, `transcoders/`, `prompts.parquet`, `card.json`, `card.md`."""

MODEL = str(FILES / "model")
"""Hugging Face folder of the built-in model."""

TRANSCODERS = str(FILES / "transcoders")
"""Its per-layer transcoders, in circuit-tracer's format."""

PROMPTS = str(FILES / "prompts.parquet")
"""Its prompts: `id`, `prompt`, `family`, `answer` and what else is known of each."""

SWEEP = str(Path(__file__).with_name("sweep.yaml"))
"""The sweep file that traces its prompts."""

NAME = "demo"
"""The word that stands for the built-in files."""


def resolve(name: str, part: Literal["model", "transcoders", "prompts", "sweep"] = "model") -> str:
    """Return the path of the built-in `part` when `name` is the word `demo`, else `name` unchanged."""
    if name != NAME:
        return name
    return {"model": MODEL, "transcoders": TRANSCODERS, "prompts": PROMPTS, "sweep": SWEEP}[part]
