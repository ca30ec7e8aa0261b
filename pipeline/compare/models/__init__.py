"""Two models over one dataset: is the small one enough, what did a fine-tuning move."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["ModelComparison", "compare_models", "write_model_tables"],
        "page": ["model_page"],
    },
)
