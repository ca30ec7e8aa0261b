"""Scales and means of what one layer reads and writes, measured in float64 and folded into the files.

One scalar a layer and side, not one a dimension: the error must stay an error of the residual stream. Taking
the mean away is what keeps features alive: gamma, its size over the deviation's, predicts how many die.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import ConfigurationError


@dataclass(frozen=True)
class Moments:
    """Mean and deviation of one side, float64."""

    mean: Float[Tensor, " d"]
    scale: float
    """Root of the mean squared distance from the mean, a dimension."""

    @property
    def gamma(self) -> float:
        """Size of the mean over that of the deviation."""
        return float(self.mean.norm()) / (self.scale * len(self.mean) ** 0.5)


@dataclass(frozen=True)
class Normalisation:
    """Of one layer."""

    reads: Moments
    writes: Moments

    def inputs(self, rows: Float[Tensor, "rows d"]) -> Float[Tensor, "rows d"]:
        """Return inputs as features are trained on them."""
        return (rows.float() - self.reads.mean.to(rows.device, torch.float32)) / self.reads.scale

    def outputs(self, rows: Float[Tensor, "rows d"]) -> Float[Tensor, "rows d"]:
        """Return outputs as features are trained on them; their mean stays, and is the first bias."""
        return rows.float() / self.writes.scale

    def state(self) -> dict[str, Tensor]:
        """Return the numbers by name."""
        return {
            f"{side}.{name}": torch.as_tensor(getattr(moments, name), dtype=torch.float64)
            for side, moments in (("reads", self.reads), ("writes", self.writes))
            for name in ("mean", "scale")
        }

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> Normalisation:
        """Return what `state` described."""
        return cls(
            *(Moments(state[f"{side}.mean"], float(state[f"{side}.scale"])) for side in ("reads", "writes"))
        )


class MomentSums:
    """Sums of one side over rows that come in parts."""

    def __init__(self, width: int) -> None:
        self._count, self._sum = 0, torch.zeros(width, dtype=torch.float64)
        self._centre: Tensor | None = None
        self._squares = 0.0

    def add(self, rows: Float[Tensor, "rows d"]) -> None:
        """Add rows."""
        rows = rows.to("cpu", torch.float64)
        if self._centre is None:
            self._centre = rows.mean(0)  # sums of squares around a point nearby lose no digits
        away = rows - self._centre
        self._count += len(rows)
        self._sum += away.sum(0)
        self._squares += float(away.square().sum())

    def moments(self, what: str) -> Moments:
        """Return mean and deviation.

        Raises:
            ConfigurationError: all rows are the same, or one is not a number.

        """
        offset = self._sum / self._count
        return Moments(self._centre + offset, (self.variance(what) / len(offset)) ** 0.5)

    def variance(self, what: str) -> float:
        """Return the mean squared distance from the mean, all dimensions together.

        Raises:
            ConfigurationError: all rows are the same, or one is not a number.

        """
        offset = self._sum / self._count
        squares = self._squares / self._count - float(offset.square().sum())
        if not squares > 0 or squares == float("inf"):
            raise ConfigurationError(
                f"{what} does not vary, or is not a finite number, over {self._count:,} tokens of the text: "
                "is the model whole, and does the text have more than one sentence?"
            )
        return squares


class NormalisationSums:
    """Sums of both sides of a layer."""

    def __init__(self, width: int) -> None:
        self._reads, self._writes = MomentSums(width), MomentSums(width)

    def add(self, inputs: Float[Tensor, "rows d"], outputs: Float[Tensor, "rows d"]) -> None:
        """Add rows."""
        self._reads.add(inputs)
        self._writes.add(outputs)

    def normalisation(self, layer: int) -> Normalisation:
        """Return the layer's normalisation.

        Raises:
            ConfigurationError: its activations do not vary.

        """
        return Normalisation(
            self._reads.moments(f"what layer {layer} reads"),
            self._writes.moments(f"what layer {layer} writes"),
        )
