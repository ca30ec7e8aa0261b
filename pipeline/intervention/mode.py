"""Modes of intervention: the values held while features are changed.

- `DEFAULT`: attention patterns are held; norms are live and later activations are computed anew. A
  change is taken against the current activation, as earlier changes left it.
- `constrained(layers)`: patterns are held, and inside the range MLP outputs too (a transcoder's affine
  path stays live); a change is taken against the original activation and writes only into the range.
  Where the range covers every layer, norm denominators are held as well: direct effects alone.
- `OPEN`: nothing is held; the change is taken against the current activation.

Inside a constrained range a feature's effect on a later feature is true by construction; evidence is
what happens outside it ("Circuit Tracing", Transformer Circuits, 2025; names as in circuit-tracer).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import InterventionError


@dataclass(frozen=True)
class Mode:
    """Values held during an intervention."""

    hold_patterns: bool
    """Attention patterns stay as the clean run made them."""

    layers: range | None = None
    """Layers whose MLP outputs stay as they were; None for none."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.layers is None:
            return
        if not self.hold_patterns or len(self.layers) == 0 or self.layers.step != 1 or self.layers.start < 0:
            raise InterventionError(
                f"constrained layers are {self.layers!r}: give a range of at least one layer, "
                "such as range(0, 4), upwards by 1."
            )

    def writes_at(self, layer: int) -> bool:
        """True where a change may write at the layer."""
        return self.layers is None or layer in self.layers

    def holds_output(self, layer: int) -> bool:
        """True where the layer's MLP output is held."""
        return self.layers is not None and layer in self.layers

    def holds_norms(self, n_layers: int) -> bool:
        """True where norm denominators are held: the range covers every layer of the model."""
        return self.layers is not None and self.layers.start == 0 and self.layers.stop >= n_layers


DEFAULT = Mode(hold_patterns=True)
"""Patterns held, everything else live."""

OPEN = Mode(hold_patterns=False)
"""Nothing held."""


def constrained(layers: range) -> Mode:
    """Hold patterns, and MLP outputs within `layers`.

    Raises:
        InterventionError: the range is empty, steps, or begins below 0.

    """
    return Mode(hold_patterns=True, layers=layers)
