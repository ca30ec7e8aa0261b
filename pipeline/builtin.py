"""The built-in models, their transcoders and prompts: where they lie, and the words that stand for them.

`demo` is a model of facts about states and countries, `english` one of WordNet's definitions. Commands,
sweeps and the package's face turn the words into paths here; the engine knows only paths and names on the
Hub.
`pipeline/demo` and `pipeline/english` trained the files and say how.
"""

from pathlib import Path
from typing import Literal

NAMES = ("demo", "english")
"""The words that stand for built-in files."""

NAME = "demo"
"""The one that templates and examples begin with."""

_HERE = Path(__file__).parent

FILES = _HERE / NAME / "files"
"""Folder of what ships of `demo`: `model/`, `transcoders/`, `prompts.parquet`, `card.json`, `card.md`."""

ENGLISH_FILES = _HERE / "english" / "files"
"""Folder of what ships of `english`: the same, and `glosses.parquet`, the texts with their classes."""

MODEL = str(FILES / "model")
"""Hugging Face folder of the model `demo`."""

TRANSCODERS = str(FILES / "transcoders")
"""Its per-layer transcoders, in circuit-tracer's format."""

PROMPTS = str(FILES / "prompts.parquet")
"""Its prompts: `id`, `prompt`, `family`, `answer` and further columns."""

SWEEP = str(_HERE / NAME / "sweep.yaml")
"""The sweep file that traces its prompts."""

Part = Literal["model", "transcoders", "prompts", "sweep"]


def resolve(name: str, part: Part) -> str:
    """Return the path of a built-in part if the name is a built-in one, else the name unchanged."""
    if name not in NAMES:
        return name
    room = _HERE / name
    paths = {
        "model": room / "files" / "model",
        "transcoders": room / "files" / "transcoders",
        "prompts": room / "files" / "prompts.parquet",
        "sweep": room / "sweep.yaml",
    }
    return str(paths[part])
