"""How fast the engine is next to the machine it runs on: a fixed model, fixed prompts, counted arithmetic."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["Report", "Settings"],
    },
)
