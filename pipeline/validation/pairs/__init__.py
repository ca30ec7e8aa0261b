"""Prompts in pairs: what of the difference between two prompts goes through which features and paths."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "measure": ["PairMeasured", "measure_pair"],
        "runs": ["Edge", "Pair"],
    },
)
