"""Making of the built-in model and its transcoders: corpus, recipe, training, card.

The files that ship lie in `files/`; `pipeline.builtin` says where. Running a sweep imports nothing of this.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "card": ["accuracy_rows", "graph_rows", "layer_rows"],
        "fine_tuning": ["FineTuning", "fine_tune", "train_small", "with_answers"],
        "measurement": ["Measurements"],
        "model_training": ["ModelSize", "ModelTraining"],
        "recipe": ["Recipe", "transcoders_of"],
        "train": ["Progress", "build"],
    },
)
