"""Circuits: what the graphs of a group of prompts share beyond chance, tested on other prompts.

result = discover("runs/demo", Grouping("family"), Settings(subject="subject"))
result.dataset("circuits")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "discover": ["discover"],
        "discovery": ["Discovery"],
        "finding": ["CallsHere", "TARGET", "find"],
        "known": ["find_known"],
        "labels": ["Labels", "label", "read_roles"],
        "settings": ["Settings"],
        "testing": ["TestRun", "run_tests"],
    },
)
