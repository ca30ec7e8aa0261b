"""Other projects beside this one, on the same model, prompts and text, each in a process of its own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "side_by_side": ["report"],
    },
)
