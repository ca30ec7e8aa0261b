"""The one in-memory form of all transcoders that can replace a model's MLPs.

A per-layer transcoder (PLT) and a cross-layer transcoder (CLT) differ only in where a feature
writes: to its own layer, or to its own and every later one. So a feature always has one encoder row
and a stack of decoder rows, one for each layer that it writes to; a PLT's stack has height one.

Encoders live on the model's device, since every prompt reads all of them; or, on request, in their
files, of which a layer's blocks then pass through the device one after the other. Decoders stay in
their files: a prompt needs only its active features' rows, and the largest published sets do not
fit a device (160 GB for a Gemma CLT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, per_feature, ranks
from pipeline.transcoders.hook_points import HookPoint
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder


@dataclass(frozen=True)
class TranscoderLayer:
    """The features that read at one layer. F features, d model width, W layers written to."""

    encoder: Float[Tensor, "F d"] | StoredEncoder
    """Encoder rows, in memory or in their file; `encoder[features]` gives some of them."""

    encoder_bias: Float[Tensor, " F"]
    """Added to the pre-activations."""

    decoder: Float[Tensor, "F W d"] | StoredDecoder
    """Decoder rows, in memory or in their file; index w writes to this layer + w."""

    decoder_bias: Float[Tensor, " d"]
    """Added to this layer's reconstruction."""

    activation: Activation
    """Function from pre-activations to activations."""

    skip: Float[Tensor, "d d"] | None = None
    """Affine path beside the features: `input @ skip` is added to this layer's reconstruction."""

    @property
    def n_features(self) -> int:
        """Features that read at this layer, F."""
        return self.encoder.shape[0]

    @property
    def ranks(self) -> bool:
        """True where a feature's activation depends on more than its own pre-activation."""
        return ranks(self.activation)

    @property
    def n_resident(self) -> int:
        """Numbers that live on the model's device; decoders, and encoders on request, stay in their files."""
        parts = (self.encoder, self.encoder_bias, self.decoder_bias, self.skip)
        return sum(part.numel() for part in parts if isinstance(part, Tensor))

    def preactivations(self, inputs: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows F"]:
        """Return what the activation function sees for each row and feature."""
        if isinstance(self.encoder, StoredEncoder):
            return self.encoder.products(inputs).add_(self.encoder_bias)
        return torch.nn.functional.linear(inputs, self.encoder, self.encoder_bias)

    def encode(self, inputs: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows F"]:
        """Return the activation of every feature for each row."""
        return self.activation(self.preactivations(inputs))

    def decoder_rows(self, features: Int[Tensor, " n"], write: int) -> Float[Tensor, "n d"]:
        """Return these features' decoder rows for the layer `write` steps above this one."""
        if isinstance(self.decoder, StoredDecoder):
            return self.decoder.rows(features, write).to(self.encoder_bias)
        return self.decoder[features.to(self.decoder.device), write].to(self.encoder_bias)

    def decode(self, activations: Float[Tensor, "*rows F"]) -> Float[Tensor, "*rows d"]:
        """Return what all features and the bias write at this layer; for a few see `decoder_rows`."""
        everything = torch.arange(self.n_features, device=activations.device)
        return activations @ self.decoder_rows(everything, 0) + self.decoder_bias

    def to(self, device: torch.device, dtype: torch.dtype) -> TranscoderLayer:
        """Move all but what stays in its file, whose rows are moved when they are read."""
        return replace(
            self,
            encoder=self.encoder.to(device, dtype),
            encoder_bias=self.encoder_bias.to(device, dtype),
            decoder_bias=self.decoder_bias.to(device, dtype),
            activation=per_feature(self.activation, lambda part: part.to(device, dtype)),
            skip=None if self.skip is None else self.skip.to(device, dtype),
        )


@dataclass(frozen=True)
class Transcoders:
    """A set of transcoders, one for each layer of a model."""

    layers: tuple[TranscoderLayer, ...]
    """One entry a layer, from the first."""

    input_hook: HookPoint
    """Hook point that features read, by the name in transcoder configurations."""

    output_hook: HookPoint
    """Hook point that features write to."""

    name: str = ""
    """Name of the set (`scan` in its configuration)."""

    format: str = ""
    """Format of its files, as people call it; empty for what was not read from files."""

    def __post_init__(self) -> None:
        """Check that the layers agree on the width and write inside the model."""
        if not self.layers:
            raise TranscoderError(f"transcoders {self.name!r} have no layers: is the folder complete?")
        widths = {layer.encoder.shape[1] for layer in self.layers}
        if len(widths) > 1:
            raise TranscoderError(
                f"transcoders {self.name!r} mix model widths {sorted(widths)}: one set has one."
            )
        for index, layer in enumerate(self.layers):
            per_feature(layer.activation, partial(self._check_numbers, index))
            if index + layer.decoder.shape[1] > len(self.layers):
                raise TranscoderError(
                    f"transcoder layer {index} writes to {layer.decoder.shape[1]} layers, but only "
                    f"{len(self.layers) - index} are left above it: is a layer's file missing?"
                )

    def _check_numbers(self, index: int, numbers: Float[Tensor, " F"]) -> Tensor:
        """Refuse thresholds and the like that are not a number: their features would never be active."""
        if wrong := int(numbers.isnan().sum()):
            raise TranscoderError(
                f"transcoders {self.name!r}, layer {index}: {wrong:,} thresholds are not a number, and their "
                "features would never be active: fetch the file again."
            )
        return numbers

    @property
    def n_layers(self) -> int:
        """Layers of the model that this set replaces."""
        return len(self.layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream that this set reads."""
        return self.layers[0].encoder.shape[1]

    def writers(self, layer: int) -> range:
        """Return the layers whose features write to `layer`."""
        first = layer
        while first > 0 and first - 1 + self.layers[first - 1].decoder.shape[1] > layer:
            first -= 1
        return range(first, layer + 1)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Transcoders:
        """Move what every prompt needs to a device; see `TranscoderLayer.to`."""
        return self.over([torch.device(device)] * self.n_layers, dtype)

    def over(self, devices: Sequence[torch.device], dtype: torch.dtype) -> Transcoders:
        """Move what every prompt needs of each layer to that layer's device."""
        moved = (layer.to(device, dtype) for layer, device in zip(self.layers, devices, strict=True))
        return replace(self, layers=tuple(moved))
