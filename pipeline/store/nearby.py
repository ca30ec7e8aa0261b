"""Suggest the output that a mistyped path was meant to name."""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path

from pipeline.store.layout import SWEEP

LOOKED_AT = 1000
"""Most folders that are looked at: a suggestion must not take as long as an answer."""

DEPTH = 2
"""Names at the end of a path that may be wrong."""

NAMED = 3
"""Most outputs that are suggested."""


def nearby_outputs(path: str) -> list[str]:
    """Return outputs that a local path which is none may have meant, the likeliest first.

    That is the output around it, else outputs in it, else outputs whose path is spelt alike.
    """
    if "://" in path:
        return []
    meant = Path(path)
    if around := [str(folder) for folder in meant.parents if (folder / SWEEP).is_file()]:
        return around[:1]
    if inside := _outputs_in(meant, depth=1):
        return inside[:NAMED]
    # A mistake in the last name, or in the one before it: `runs/demmo`, `rnus/demo`.
    for depth, base in enumerate(meant.parents, start=1):
        if base.is_dir():
            if depth > DEPTH:
                return []
            # Without the part that is right already, which would make everything look alike.
            found = {str(Path(name).relative_to(base)): name for name in _outputs_in(base, depth)}
            near = difflib.get_close_matches(str(meant.relative_to(base)), found, NAMED)
            return [found[name] for name in near]
    return []


def _outputs_in(folder: Path, depth: int) -> list[str]:
    try:
        found = islice(folder.glob("*/" * depth), LOOKED_AT)
        return sorted(str(output) for output in found if (output / SWEEP).is_file())
    except OSError:  # a folder that this user may not read holds nothing to suggest
        return []
