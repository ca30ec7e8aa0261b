"""What a step of training saw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerStep:
    """What one step saw of one layer."""

    layer: int

    rate: float
    """Learning rate."""

    fvu: float
    """Squared error over variance, on the step's rows."""

    l0: float
    """Active features of a row, on average."""

    dead: int
    """Features that have been silent for too long."""

    threshold: float
    """Mean cut of BatchTopK; 0 for other activations."""


@dataclass(frozen=True)
class StepReport:
    """What one step saw."""

    step: int
    """Number of the step, from 0."""

    k: int
    """Active features of a row that were wanted."""

    layers: tuple[LayerStep, ...]
