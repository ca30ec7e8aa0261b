"""Which share of a dictionary's features another one has too, such as one of another seed.

A feature is shared if the other dictionary has one in the same layer whose decoder points the same way: a
cosine above 0.7 over all that they write. Wide dictionaries of few dimensions have something near any
direction, so beside it stands the share that random directions reach: sums of the other's decoders with
random weights, which have their covariance and none of their features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.builtin import resolve
from pipeline.errors import ConfigurationError
from pipeline.training.config import DictionaryConfig
from pipeline.training.write import read_dictionary
from pipeline.transcoders import TranscoderLayer, load_transcoders

SAME = 0.7
"""Cosine above which two decoders are of one feature."""

BLOCK = 1024
"""Features that are compared with all others at once."""


@dataclass(frozen=True)
class LayerAgreement:
    """One layer's figures."""

    layer: int

    shared: float
    """Share of features that the other dictionary has too."""

    random: float
    """The same of as many random directions."""


@dataclass(frozen=True)
class Agreement:
    """Two dictionaries of one model."""

    other: str
    """Name of the other one."""

    layers: tuple[LayerAgreement, ...]


def load_against(config: DictionaryConfig) -> dict[int, TranscoderLayer]:
    """Load the dictionary that this one is to be compared with, by layer.

    Raises:
        ConfigurationError: it has fewer layers.
        TranscoderError: it cannot be read.

    """
    if config.kind == "sae":
        layers = read_dictionary(config, Path(config.against))
    else:
        layers = dict(enumerate(load_transcoders(resolve(config.against, "transcoders")).layers))
    if len(layers) < (config.layers or 1):
        raise ConfigurationError(
            f"against has {len(layers)} layers, and {config.layers} are trained: name a dictionary of the "
            "same model."
        )
    return layers


def measure_agreement(
    layers: Mapping[int, TranscoderLayer], others: Mapping[int, TranscoderLayer], other: str, seed: int
) -> Agreement:
    """Compare the decoders of two dictionaries, layer by layer.

    Args:
        layers: of the one whose features are counted.
        others: of the other one.
        other: its name.
        seed: of the random directions.

    Raises:
        ConfigurationError: they are of different models or kinds.

    """
    return Agreement(
        other, tuple(_agreement(number, layer, others, seed) for number, layer in layers.items())
    )


@torch.no_grad()
def _agreement(
    number: int, layer: TranscoderLayer, others: Mapping[int, TranscoderLayer], seed: int
) -> LayerAgreement:
    if number not in others or others[number].decoder.shape[1:] != layer.decoder.shape[1:]:
        raise ConfigurationError(
            f"against has no layer {number} that writes what this dictionary's does: name one of the same "
            "model and kind."
        )
    own, their = _directions(layer), _directions(others[number])
    random, generator = 0, torch.Generator().manual_seed(seed)
    for block in torch.arange(len(own)).split(BLOCK):
        mixed = torch.randn(len(block), len(their), generator=generator) @ their
        random += _count(mixed / mixed.norm(dim=1, keepdim=True), their)
    return LayerAgreement(number, _count(own, their) / len(own), random / len(own))


def _directions(layer: TranscoderLayer) -> Float[Tensor, "F writes_d"]:
    everything = torch.arange(layer.n_features)
    rows = [layer.decoder_rows(everything, above) for above in range(layer.decoder.shape[1])]
    return torch.nn.functional.normalize(torch.cat(rows, dim=1).cpu().float(), dim=1)


def _count(own: Tensor, their: Tensor) -> int:
    """Return how many directions are near one of the others'."""
    return sum(int(((block @ their.T).amax(1) > SAME).sum()) for block in own.split(BLOCK))
