"""Weights of one layer in training, on normalised inputs and outputs, float32, and how they begin.

Random numbers are drawn in blocks of features, each from a generator of its own (seed, layer, block): a
process that has some of a layer's features draws the same ones as a process that has all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.training.config import DictionaryConfig
from pipeline.training.recipe.normalisation import Normalisation

BLOCK = 256
"""Features that are drawn together."""

FIRST_ENCODER = 0.1
"""Size of first pre-activations; at 1 two thirds of the variance stayed unexplained."""

FIRST_THRESHOLD = 0.1
"""Of JumpReLU in training."""


@dataclass(frozen=True)
class LayerWeights:
    """Parameters of the features that read at one layer, or of a shard of them."""

    encoder: Float[Tensor, "F d"]
    encoder_bias: Float[Tensor, " F"]

    decoders: tuple[Float[Tensor, "F d"], ...]
    """One for each layer written to, from their own."""

    decoder_bias: Float[Tensor, " d"]

    skip: Float[Tensor, "d d"] | None = None
    """Applied as `inputs @ skip`."""

    log_threshold: Float[Tensor, " F"] | None = None
    """Of JumpReLU in training."""

    def named(self) -> dict[str, Tensor]:
        """Return the parameters by name."""
        named = {"encoder": self.encoder, "encoder_bias": self.encoder_bias}
        named |= {f"decoder.{index}": decoder for index, decoder in enumerate(self.decoders)}
        named |= {"decoder_bias": self.decoder_bias, "skip": self.skip, "log_threshold": self.log_threshold}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def shared(self) -> list[Tensor]:
        """Return the parameters that every shard of the features has: they belong to the layer."""
        return [self.decoder_bias] if self.skip is None else [self.decoder_bias, self.skip]

    def norms(self) -> Float[Tensor, " F"]:
        """Return the norm of all that each feature writes."""
        if len(self.decoders) == 1:
            return self.decoders[0].norm(dim=1)
        return torch.stack([decoder.square().sum(1) for decoder in self.decoders]).sum(0).sqrt()

    @classmethod
    def of(cls, named: dict[str, Tensor]) -> LayerWeights:
        """Return the weights that `named` described."""
        decoders = tuple(
            named[f"decoder.{index}"] for index in range(sum(n.startswith("decoder.") for n in named))
        )
        others = {name: tensor for name, tensor in named.items() if not name.startswith("decoder.")}
        return cls(decoders=decoders, **others)


def writes_of(config: DictionaryConfig, layer: int, n_layers: int) -> int:
    """Return how many layers the features of a layer write to."""
    if config.kind != "clt":
        return 1
    above = n_layers - layer
    return above if config.cross_layer is None else min(above, 1 + config.cross_layer)


def first_weights(
    config: DictionaryConfig, layer: int, n_layers: int, features: range, normalisation: Normalisation
) -> LayerWeights:
    """Return the weights with which a layer's features begin.

    Args:
        config: of the dictionary.
        layer: the layer.
        n_layers: layers of the model.
        features: those of this process.
        normalisation: of the layer.

    """
    width = len(normalisation.reads.mean)
    writes = writes_of(config, layer, n_layers)
    if config.kind == "clt":
        encoder_size, decoder_size = 1 / sqrt(config.features), 1 / sqrt(n_layers * width)
        encoder, *decoders = (
            part * size
            for part, size in zip(
                _drawn(_uniform, config.seed, layer, features, 1 + writes, width),
                [encoder_size] + [decoder_size] * writes,
                strict=True,
            )
        )
    else:
        encoder, decoder = _drawn(_normal, config.seed, layer, features, 2, width)
        decoder = decoder / decoder.norm(dim=1, keepdim=True)
        encoder = decoder.clone() if config.kind == "sae" else encoder * FIRST_ENCODER / sqrt(width)
        decoders = [decoder]
    bias = (normalisation.writes.mean / normalisation.writes.scale).float()
    jump = torch.full((len(features),), FIRST_THRESHOLD).log() if config.activation == "jumprelu" else None
    return LayerWeights(
        encoder=encoder.contiguous(),
        encoder_bias=torch.zeros(len(features)),
        decoders=tuple(decoder.contiguous() for decoder in decoders),
        decoder_bias=bias,
        skip=torch.zeros(width, width) if config.kind == "skip" else None,
        log_threshold=jump,
    )


Draw = Callable[[torch.Generator, tuple[int, ...]], Tensor]


def _normal(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def _drawn(
    draw: Draw, seed: int, layer: int, features: range, parts: int, width: int
) -> Float[Tensor, "parts F d"]:
    blocks = range(features.start // BLOCK, -(-features.stop // BLOCK))
    drawn = []
    for block in blocks:
        generator = torch.Generator().manual_seed(_seed(seed, layer, block))
        drawn.append(draw(generator, (parts, BLOCK, width)))
    first = features.start - blocks.start * BLOCK
    return torch.cat(drawn, dim=1)[:, first : first + len(features)]


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
