"""What is patched between the prompts of a pair: everything that decides its cost and its result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.configuration import Section


class PairTests(Section):
    """Rules by which the prompts of pairs are patched with their partners' activations."""

    column: str | None = None
    """Column of `graphs` whose value the two prompts of a pair share (default: that of the sweep file, else
    `pair`)."""

    role: str | None = None
    """Column that tells the two apart (default: that of the sweep file, else `role` where there is one)."""

    align: Literal["start", "end"] = "start"
    """Positions that belong together: counted from the start, which takes prompts of the same length, or
    from the end."""

    features: int = Field(default=16, ge=0)
    """Features of each circuit that are patched one by one, the most influential that differ."""

    paths: int = Field(default=16, ge=0)
    """Edges of each circuit that are patched one by one, those over which most influence flows."""
