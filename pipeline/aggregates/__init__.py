"""TODO."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "jobs": ["Aggregation", "aggregate"],
        "parts": ["KEYS", "LOWEST_KEY"],
        "result": ["FOLDER", "Manifest", "Mined", "newest_mined"],
    },
)
