"""Features that act together, clustered, with the stability of each cluster."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "supernodes": ["Clustering", "find_supernodes"],
    },
)
