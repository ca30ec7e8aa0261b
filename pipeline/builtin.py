"""The built-in model, its transcoders and prompts: where they lie, and the word `demo` that stands for them.

Commands, sweeps and the package's face turn the word into paths here; the engine knows only paths and names
on the Hub. `pipeline/demo` trained the files and says how.
"""

from pathlib import Path
from typing import Literal

NAME = "demo"
"""The word that stands for the built-in files."""

_DEMO = Path(__file__).parent / "demo"

FILES = _DEMO / "files"
"""Folder of what ships: `model/`, `transcoders/`, `prompts.parquet`, `card.json`, `card.md`."""

MODEL = str(FILES / "model")
"""Hugging Face folder of the built-in model."""

TRANSCODERS = str(FILES / "transcoders")
"""Its per-layer transcoders, in circuit-tracer's format."""

PROMPTS = str(FILES / "prompts.parquet")
"""Its prompts: `id`, `prompt`, `family`, `answer` and further columns."""

SWEEP = str(_DEMO / "sweep.yaml")
"""The sweep file that traces its prompts."""

Part = Literal["model", "transcoders", "prompts", "sweep"]


def resolve(name: str, part: Part) -> str:
    """Return the path of a built-in part if the name is `demo`, else the name unchanged."""
    if name != NAME:
        return name
    return {"model": MODEL, "transcoders": TRANSCODERS, "prompts": PROMPTS, "sweep": SWEEP}[part]
