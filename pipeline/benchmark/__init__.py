"""Speed of the engine relative to its machine: a fixed model, fixed prompts, counted arithmetic."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["Report", "Settings"],
    },
)
