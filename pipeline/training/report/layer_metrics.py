"""How well each layer's features stand in for its MLP, on held-out rows.

Sums come first and ratios last, in float64: a mean of ratios would be of nothing in particular. Legend: N
rows, y what the MLP writes, yhat what is written in its place, z activations.

    L0 = sum #{z > 0} / N            FVU = sum |y - yhat|^2 / sum |y - ybar|^2, ybar the mean of all N rows
    norm ratio = sum |yhat| / sum |y|       bias = sum |yhat|^2 / sum <y, yhat>
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.training.data import Rows
from pipeline.transcoders import TranscoderLayer

BLOCK = 1024
"""Features whose decoders are compared with all others at once."""

FIRST_BIN, BIN, BINS = -8.0, 0.25, 32
"""Histogram of log10 of the share of rows on which a feature is active: from 1e-8 to 1, a quarter each."""

LEAST_NORM = 1e-30


@dataclass(frozen=True)
class LayerMetrics:
    """One layer's figures."""

    layer: int
    rows: int
    """Held-out tokens, N."""

    l0: float
    """Mean number of active features of a token."""

    fvu: float
    """Share of the MLP output's variance that is left unexplained."""

    norm_ratio: float
    """Sum of the norms written over the sum of the norms that the MLP writes; below 1 where it shrinks."""

    bias: float
    """Squared size of what is written over its product with what the MLP writes; 1 is unbiased."""

    dead: int
    """Features that are active on no held-out token."""

    frequent_1: int
    """Features that are active on more than 1% of the tokens."""

    frequent_10: int
    """Features that are active on more than 10% of the tokens."""

    l0_frequent_1: float
    """Share of all activations that are of features above 1%."""

    l0_frequent_10: float
    """Share of all activations that are of features above 10%."""

    histogram: tuple[int, ...]
    """Features by log10 of their share of tokens, from -8 in steps of 0.25; dead ones are in none."""

    decoder_similarity: float
    """Mean, over features, of the largest cosine between a feature's decoder and another's."""


@dataclass
class _Sums:
    """Sums over rows of one layer."""

    rows: int
    squared_error: float
    output: Tensor
    squared_output: float
    norms: float
    norms_written: float
    squared_written: float
    product: float
    active: Int[Tensor, " F"]

    @classmethod
    def empty(cls, layer: TranscoderLayer) -> _Sums:
        width = layer.encoder.shape[1]
        active = torch.zeros(layer.n_features, dtype=torch.long)
        return cls(0, 0.0, torch.zeros(width, dtype=torch.float64), 0.0, 0.0, 0.0, 0.0, 0.0, active)

    def add(self, outputs: Tensor, written: Tensor, active: Tensor) -> None:
        outputs, written = outputs.double().cpu(), written.double().cpu()
        self.rows += len(outputs)
        self.squared_error += float((outputs - written).square().sum())
        self.output += outputs.sum(0)
        self.squared_output += float(outputs.square().sum())
        self.norms += float(outputs.norm(dim=1).sum())
        self.norms_written += float(written.norm(dim=1).sum())
        self.squared_written += float(written.square().sum())
        self.product += float((outputs * written).sum())
        self.active += active.sum(0).cpu()

    def metrics(self, number: int, layer: TranscoderLayer) -> LayerMetrics:
        variance = self.squared_output - float((self.output**2).sum()) / self.rows
        share = self.active.double() / self.rows
        total = max(1, int(self.active.sum()))
        bins = ((share[share > 0].log10() - FIRST_BIN) / BIN).floor().long().clamp(0, BINS - 1)
        return LayerMetrics(
            layer=number,
            rows=self.rows,
            l0=int(self.active.sum()) / self.rows,
            fvu=self.squared_error / max(variance, LEAST_NORM),
            norm_ratio=self.norms_written / max(self.norms, LEAST_NORM),
            bias=self.squared_written / self.product if self.product else float("inf"),
            dead=int((self.active == 0).sum()),
            frequent_1=int((share > 0.01).sum()),
            frequent_10=int((share > 0.1).sum()),
            l0_frequent_1=int(self.active[share > 0.01].sum()) / total,
            l0_frequent_10=int(self.active[share > 0.1].sum()) / total,
            histogram=tuple(torch.bincount(bins, minlength=BINS).tolist()),
            decoder_similarity=decoder_similarity(layer),
        )


@torch.no_grad()
def measure_layers(
    layers: Mapping[int, TranscoderLayer], passes: Iterable[Rows]
) -> tuple[list[LayerMetrics], dict[int, Float[Tensor, " d"]]]:
    """Return each layer's figures, and the mean of what each MLP writes.

    Args:
        layers: as they are read from the files, in float32; they write to layers among these.
        passes: rows of all these layers, in parts.

    """
    sums = {number: _Sums.empty(layer) for number, layer in layers.items()}
    for part in passes:
        written = {
            number: torch.zeros_like(rows.outputs, dtype=torch.float32) for number, rows in part.items()
        }
        for number, layer in layers.items():
            inputs = part[number].inputs.float()
            activations = layer.encode(inputs)
            written[number] += base_of(layer, inputs)
            for above in range(layer.decoder.shape[1]):
                written[number + above] += features_write(layer, activations, above)
            # A lower layer's features have written already: this layer is complete.
            sums[number].add(part[number].outputs, written[number], activations != 0)
    means = {number: each.output / each.rows for number, each in sums.items()}
    return [sums[number].metrics(number, layer) for number, layer in layers.items()], means


def base_of(layer: TranscoderLayer, inputs: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
    """Return what a layer writes beside its features."""
    return layer.decoder_bias if layer.skip is None else inputs @ layer.skip + layer.decoder_bias


def features_write(
    layer: TranscoderLayer, activations: Float[Tensor, "*rows F"], above: int
) -> Float[Tensor, "*rows d"]:
    """Return what a layer's features write to the layer `above` steps above."""
    everything = torch.arange(layer.n_features, device=activations.device)
    return activations @ layer.decoder_rows(everything, above)


@torch.no_grad()
def decoder_similarity(layer: TranscoderLayer) -> float:
    """Return the mean of each feature's largest cosine with another one, over all that they write."""
    everything = torch.arange(layer.n_features)
    rows = torch.cat(
        [layer.decoder_rows(everything, above) for above in range(layer.decoder.shape[1])], dim=1
    )
    rows = rows.double().cpu()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=LEAST_NORM)
    if len(rows) == 1:
        return 0.0
    largest = []
    for block in torch.arange(len(rows)).split(BLOCK):
        cosines = rows[block] @ rows.T
        cosines[torch.arange(len(block)), block] = -2
        largest.append(cosines.max(dim=1).values)
    return float(torch.cat(largest).mean())
