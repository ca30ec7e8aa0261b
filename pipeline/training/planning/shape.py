"""The sizes of a dictionary, exactly: parameters, training state, files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["plt", "skip", "clt", "sae"]

STATE_BYTES = 16
"""Bytes of training state a parameter: weight, gradient and two moments of Adam, each float32."""

HEADER_BYTES = 1024
"""A safetensors file's header."""


@dataclass(frozen=True)
class DictionaryShape:
    """A dictionary of one encoder a layer, with the model it is for."""

    kind: Kind
    layers: int
    """Layers of the model that get a dictionary."""

    d_model: int
    features: int
    """Features of a layer."""

    cross_layer: int | None = None
    """For CLTs: layers after its own that a feature writes to (None: all)."""

    @property
    def decoders(self) -> int:
        """Decoders of all layers together: a CLT's feature has one for each layer that it writes to."""
        if self.kind != "clt":
            return self.layers
        reach = self.layers if self.cross_layer is None else self.cross_layer + 1
        return sum(min(reach, self.layers - layer) for layer in range(self.layers))

    @property
    def weights(self) -> int:
        """Numbers in encoders, decoders and skip connections."""
        skips = self.layers if self.kind == "skip" else 0
        return (self.layers + self.decoders) * self.features * self.d_model + skips * self.d_model**2

    @property
    def biases(self) -> int:
        """Numbers in biases of encoders and decoders."""
        return self.layers * (self.features + self.d_model)

    @property
    def thresholds(self) -> int:
        """Thresholds of JumpReLU, which every kind is exported with."""
        return self.layers * self.features

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return self.weights + self.biases

    @property
    def state_bytes(self) -> int:
        """Bytes of weights, gradients and moments while it is trained."""
        return STATE_BYTES * self.parameters

    def file_bytes(self, weight_bytes: int = 2) -> int:
        """Bytes of its files, with weights of so many bytes; biases and thresholds are float32."""
        return weight_bytes * self.weights + 4 * (self.biases + self.thresholds) + HEADER_BYTES * self.layers

    def part(self, layers: int) -> DictionaryShape:
        """Return the same dictionary for some of the layers."""
        return DictionaryShape(self.kind, layers, self.d_model, self.features, self.cross_layer)
