"""TODO."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "job": ["Pairing", "pair_features"],
        "nearest": ["neighbours"],
    },
)
