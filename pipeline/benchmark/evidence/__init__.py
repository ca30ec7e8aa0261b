"""Rates of false discoveries on drawn data in which every discovery is false but those planted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "enrichment": ["report"],
    },
)
