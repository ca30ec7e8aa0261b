"""What a measurement found, ready to be printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    device: str = "cpu"
    """`cpu` or `cuda`."""

    repeats: int = 3
    """Runs of each case; figures are medians."""

    shape: str = "medium"
    """Name of a model shape, see `pipeline.benchmark.shapes`."""

    precision: str = "float32"
    """Precision of the products that make rows."""

    shards: int = 10_000
    """Shards of the sleeping sweep."""

    output: str | None = None
    """Where the sleeping sweep writes; by default into a folder that is deleted."""


@dataclass(frozen=True)
class Report:
    """A table of figures and what to know when reading it."""

    columns: tuple[str, ...]
    """Headings; the first stands over the names of the rows."""

    rows: tuple[tuple[str, ...], ...]
    """A name and one figure for each other column."""

    remarks: str = ""
    """What the figures are and are not."""
