"""Circuits of groups of prompts, from the edges of their graphs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "finding": ["Calls", "CallsHere", "Circuit", "Found", "find"],
        "naming": ["by_node", "read_targets", "read_tokens", "strongest", "supernode_name"],
        "recurrence": ["Recurring"],
        "sums": ["TARGET", "Part"],
        "support": ["read_support"],
    },
)
