"""A share of each layer's features, where a dictionary's features are spread over processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pipeline.errors import ConfigurationError


def _alone(tensor: Tensor) -> None:
    """Sum over one process: nothing to add."""


@dataclass(frozen=True)
class FeatureShard:
    """One process among those that share the features."""

    rank: int = 0
    size: int = 1
    """Number of processes, P."""

    all_reduce: Callable[[Tensor], None] = _alone
    """Replaces a tensor by its sum over all processes, which all call it with tensors of one shape."""

    def features(self, total: int) -> range:
        """Return the features of a layer that are this process's.

        Raises:
            ConfigurationError: they cannot be shared evenly.

        """
        if total % self.size:
            raise ConfigurationError(
                f"{total:,} features cannot be shared evenly by {self.size} processes: choose a multiple."
            )
        each = total // self.size
        return range(self.rank * each, (self.rank + 1) * each)


WHOLE = FeatureShard()
"""All features in one process."""
