"""Supernodes: features that act alike over the prompts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clustering": ["average_linkage"],
        "held_out": ["choose", "held_out_prompts", "is_stable", "q_values", "stability"],
        "profiles": ["Block", "Profiles"],
        "supernodes": ["Supernodes"],
    },
)
