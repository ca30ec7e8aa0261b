"""All that decides what the built-in files hold."""

from dataclasses import dataclass, field

from pipeline.demo.training import ModelTraining, TranscoderTraining


@dataclass(frozen=True)
class Recipe:
    """Seed and settings of everything that is trained, drawn and measured."""

    seed: int = 0
    """Seed of weights, of the order of the data and of the choice of prompts."""

    model: ModelTraining = field(default_factory=ModelTraining)
    """Training of the model."""

    transcoders: TranscoderTraining = field(default_factory=TranscoderTraining)
    """Training of each layer's transcoder."""

    traced_prompts: int | None = None
    """Number of built-in prompts to trace for the card (default: all)."""
