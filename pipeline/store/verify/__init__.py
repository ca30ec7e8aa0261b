"""Checks an output against its markers, file by file and row by row, and takes back what is damaged."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks": ["verify"],
        "repairs": ["repair"],
        "report": ["CheckedOutput", "Problem", "Remedy", "Report"],
    },
)
