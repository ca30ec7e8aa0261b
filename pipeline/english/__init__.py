"""Making of the built-in English model: WordNet's definitions, tokenizer, training, prompts.

The files that ship lie in `files/`; `pipeline.builtin` says where. Running a sweep imports nothing of this.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "glosses": ["Definition", "pack", "read_packed", "read_wordnet"],
        "model": ["ModelTraining", "train_model"],
        "prompts": ["english_prompts", "write_prompts"],
        "tokenizer": ["train_tokenizer"],
    },
)
