"""All that decides what the built-in files hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.demo.model_training import ModelTraining
from pipeline.training import DICTIONARY_FILE, DictionaryConfig

TRANSCODERS = Path(__file__).parent / "dictionary.yaml"
"""How the transcoders are trained: a file as `circuit-sweep train` takes it."""


def transcoders_of(**changes: Any) -> DictionaryConfig:
    """Return the transcoders' recipe, some keys changed."""
    values, lines = DICTIONARY_FILE.read(TRANSCODERS)
    return DICTIONARY_FILE.check(values | changes, str(TRANSCODERS), lines)


@dataclass(frozen=True)
class Recipe:
    """Seed and settings of everything that is trained, drawn and measured."""

    seed: int = 0
    """Seed of weights, of the order of the data and of the choice of prompts."""

    model: ModelTraining = field(default_factory=ModelTraining)
    """Training of the model."""

    transcoders: DictionaryConfig = field(default_factory=transcoders_of)
    """Training of its transcoders; model, text and output are those of the folder that is made."""

    traced_prompts: int | None = None
    """Number of built-in prompts to trace for the card (default: all)."""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings for the card, without the folders that are named."""
        places = {"model", "text", "output", "device"}
        return {
            "seed": self.seed,
            "model": asdict(self.model),
            "transcoders": self.transcoders.model_dump(mode="json", exclude=places, exclude_none=True),
            "traced_prompts": self.traced_prompts,
        }
