"""A model and a dictionary, looked at before anything is swept: are they read as they were meant?"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"check": ["TEXTS", "Finding", "check_model"], "pinned_copy": ["PinnedCopy"]},
)
