"""Modes of intervention: the values frozen while features are changed.

- `DEFAULT`: attention patterns are frozen; norms are live and later activations are computed anew. A
  change is taken against the current activation, as earlier changes left it.
- `constrained(layers)`: patterns are frozen, and inside the range MLP outputs too (a transcoder's affine
  path stays live); a change is taken against the original activation and writes only into the range.
  Where the range covers every layer, norm denominators are frozen as well: direct effects alone.
- `OPEN`: nothing is frozen; the change is taken against the current activation.
- `REPLACEMENT`: not the model but what a graph describes. Patterns are frozen, and every MLP's output is the
  dictionary's: its bias, the decoders of the features that are active in the clean run, with their
  activations computed anew on the changed stream (a changed feature is held at its value), an affine path,
  and the clean run's error unless a row goes without. Nothing changed gives the model; everything at 0 and
  no errors leaves the bias. In the other modes MLPs answer to a change themselves and undo much of it.

Inside a constrained range a feature's effect on a later feature is true by construction; evidence is
what happens outside it ("Circuit Tracing", Transformer Circuits, 2025; names as in circuit-tracer).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import InterventionError


@dataclass(frozen=True)
class Mode:
    """Values frozen during an intervention."""

    freeze_patterns: bool
    """Attention patterns stay as the clean run made them."""

    layers: range | None = None
    """Layers whose MLP outputs stay as they were; None for none."""

    replaces_mlps: bool = False
    """The dictionary's outputs stand in for the MLPs'."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.layers is None:
            return
        if (
            not self.freeze_patterns
            or len(self.layers) == 0
            or self.layers.step != 1
            or self.layers.start < 0
        ):
            raise InterventionError(
                f"constrained layers are {self.layers!r}: give a range of at least one layer, "
                "such as range(0, 4), upwards by 1."
            )

    def writes_at(self, layer: int) -> bool:
        """True where a change may write at the layer."""
        return self.layers is None or layer in self.layers

    def freezes_output(self, layer: int) -> bool:
        """True where the layer's MLP output is frozen."""
        return self.layers is not None and layer in self.layers

    def freezes_norms(self, n_layers: int) -> bool:
        """True where norm denominators are frozen: the range covers every layer of the model."""
        return self.layers is not None and self.layers.start == 0 and self.layers.stop >= n_layers


DEFAULT = Mode(freeze_patterns=True)
"""Patterns frozen, everything else live."""

OPEN = Mode(freeze_patterns=False)
"""Nothing frozen."""

REPLACEMENT = Mode(freeze_patterns=True, replaces_mlps=True)
"""The replacement model: patterns frozen, MLPs replaced by the dictionary."""


def constrained(layers: range) -> Mode:
    """Freeze patterns, and MLP outputs within `layers`.

    Raises:
        InterventionError: the range is empty, steps, or begins below 0.

    """
    return Mode(freeze_patterns=True, layers=layers)
