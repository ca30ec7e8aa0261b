"""TODO."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "heartbeat": ["ProgressFile", "Standing", "State", "WorkerStanding", "read_standing"],
        "metrics": ["Metrics"],
        "progress": ["Progress", "clock"],
    },
)
