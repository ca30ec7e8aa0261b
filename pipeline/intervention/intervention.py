"""One change of one feature, as a user writes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Literal

from pipeline.errors import InterventionError
from pipeline.features import FeatureName

Position = int | slice | Literal["all"]
"""One position of the prompt (negative from the end), a slice of positions, or all."""


@dataclass(frozen=True)
class Intervention:
    """Set a feature to a value, or multiply its activation by a factor."""

    layer: int
    """Layer that the feature reads at."""

    position: Position
    """Positions changed. Those that carry no features (position 0) are left out of slices and `all`. An
    open end (`all`, `slice(3, None)`) goes on to positions that are generated."""

    feature: int
    """Index of the feature in its layer."""

    value: float | None = None
    """Activation to set; 0 ablates."""

    factor: float | None = None
    """Instead of a value: multiple of the activation that the change is taken against."""

    def __post_init__(self) -> None:
        """Check that there is one amount, and that it and the position are numbers."""
        if not isinstance(self.position, (Integral, slice)) and self.position != "all":
            raise InterventionError(
                f"intervention on feature {self.name} names position {self.position!r}: give a whole number "
                "(-1 is the last), a slice, or 'all'."
            )
        if (self.value is None) == (self.factor is None):
            raise InterventionError(
                f"intervention on feature {self.name} has value {self.value} and factor "
                f"{self.factor}: give exactly one of them."
            )
        given = self.factor if self.value is None else self.value
        if not isinstance(given, Real) or not isfinite(given):
            raise InterventionError(
                f"intervention on feature {self.name} has the amount {given!r}: it must be a finite number."
            )

    @property
    def name(self) -> FeatureName:
        """The feature, without its positions."""
        return FeatureName(self.layer, self.feature)

    @property
    def amount(self) -> float:
        """The value or the factor, whichever was given."""
        return float(self.factor if self.value is None else self.value)

    def goes_on_at(self, position: int, n_prompt: int) -> bool:
        """True where it also holds at a position generated after a prompt of `n_prompt` positions."""
        if self.position == "all":
            return True
        if not isinstance(self.position, slice) or self.position.stop is not None:
            return False
        start, step = self.position.start or 0, self.position.step or 1
        distance = position - (start + n_prompt if start < 0 else start)
        return distance >= 0 and distance % step == 0

    def positions(self, n_positions: int, zero_positions: int) -> list[int]:
        """Return the positions of a prompt that this changes.

        Args:
            n_positions: positions of the prompt.
            zero_positions: first positions that carry no features.

        Raises:
            InterventionError: a single position is outside the prompt or carries no features.

        """
        if self.position == "all":
            return list(range(zero_positions, n_positions))
        if isinstance(self.position, slice):
            covered = range(n_positions)[self.position]
            return [position for position in covered if position >= zero_positions]
        position = self.position + n_positions if self.position < 0 else self.position
        if not zero_positions <= position < n_positions:
            raise InterventionError(
                f"intervention on feature {self.name} names position {self.position}: "
                f"features stand at positions {zero_positions} to {n_positions - 1} of this prompt."
            )
        return [position]
