"""Wall seconds by phase, the same record from the worker over the marker to the tables and the status."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Seconds:
    """Wall seconds that some work took, by phase; a phase that it does not have is 0."""

    work: float = 0.0
    """Work that names no phases of its own."""

    model: float = 0.0
    """Forward passes that freeze the model."""

    rows: float = 0.0
    """Rows of attribution."""

    pruning: float = 0.0
    """Scores and pruning."""

    tables: float = 0.0
    """Graphs to rows of tables."""

    validation: float = 0.0
    """Interventions that test circuits."""

    writing: float = 0.0
    """Encoding and storing files."""

    def __add__(self, other: Seconds) -> Seconds:
        """Add phase by phase."""
        return Seconds(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def total(self) -> float:
        """All phases together."""
        return sum(getattr(self, f.name) for f in fields(self))


NO_SECONDS = Seconds()
