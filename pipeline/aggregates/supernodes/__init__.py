"""Supernodes: features that act alike over the prompts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "supernodes": ["Supernodes"],
    },
)
