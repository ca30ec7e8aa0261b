"""Features that are active together, and what one does to the other there."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "coactivation": ["Coactivation"],
        "nearest": ["neighbours"],
    },
)
