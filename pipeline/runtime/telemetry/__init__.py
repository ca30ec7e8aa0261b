"""A run as it is seen from outside: the terminal's progress bar, the heartbeat file, Prometheus metrics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "heartbeat": ["ProgressFile", "Standing", "State", "WorkerStanding", "read_standing"],
        "metrics": ["Metrics"],
        "progress": ["Progress", "clock"],
    },
)
