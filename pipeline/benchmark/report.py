"""Results of a measurement, ready to print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement."""

    device: str = "cpu"
    """`cpu` or `cuda`."""

    repeats: int = 3
    """Runs of each case; figures are medians."""

    shape: str = "medium"
    """Name of a model shape, see `pipeline.benchmark.engine.shapes`."""

    precision: str = "float32"
    """Precision of the products that make rows."""

    shards: int = 10_000
    """Shards of the sleeping sweep."""

    peer: str | None = None
    """Python interpreter that has the peers of what is measured (default: none are)."""

    output: str | None = None
    """Output of the sleeping sweep (default: a temporary folder)."""


@dataclass(frozen=True)
class Report:
    """A table of figures and what to know when reading it."""

    columns: tuple[str, ...]
    """Headings; the first stands over the names of the rows."""

    rows: tuple[tuple[str, ...], ...]
    """A name and one figure for each other column."""

    remarks: str = ""
    """Limits of what the figures show."""
