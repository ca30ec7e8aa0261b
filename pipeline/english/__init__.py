"""Making of the built-in English model: WordNet's definitions, tokenizer, training, prompts, card.

The files that ship lie in `files/`; `pipeline.builtin` says where. Running a sweep imports nothing of this.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "card": ["class_rows", "layer_rows"],
        "measurement": ["EnglishMeasurements"],
        "model": ["ModelTraining"],
        "train": ["build_english"],
    },
)
