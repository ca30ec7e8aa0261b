"""Encoders and decoders that stay in their files, in whatever layout a format gives them.

Every layout is rows of a matrix: a feature's decoder row for one layer written to is row
`first + step * feature` of some stored tensor. So PLT (step 1), circuit-tracer's CLT (one block of
rows a feature), GemmaScope 2's CLT (the same, with all layers) and decoders kept by target layer
(one tensor each) differ in three numbers, and none is ever copied into another layout.

Legend: F features, W layers written to, d model width, T positions, n features asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.transcoders.tensors import StoredTensor

BLOCK_BYTES = 32 << 20
"""Most of an encoder that is in memory at once while it is read in blocks."""


@dataclass(frozen=True)
class WrittenRows:
    """The decoder rows with which one layer's features write to one layer, in their file."""

    tensor: StoredTensor
    """The tensor that holds them."""

    first: int = 0
    """Row of feature 0."""

    step: int = 1
    """Rows from one feature's to the next one's."""

    scale: Float[Tensor, " d"] | None = None
    """Folded into each row: the deviation of a standardised output."""

    feature_scale: Float[Tensor, " F"] | None = None
    """Factor of each feature's row."""

    transposed: bool = False
    """The tensor holds (d, F): a row is a column, and to get some the whole tensor is read, in blocks."""

    def rows(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return these features' rows."""
        features = features.cpu()
        if self.transposed:
            rows = torch.cat([block[:, features].T for block in _blocks(self.tensor)], dim=1)
        else:
            rows = self.tensor.rows(self.first + self.step * features)
        if self.feature_scale is not None:
            rows = rows * self.feature_scale[features][:, None]
        return rows if self.scale is None else rows * self.scale

    def whole(self, n_features: int) -> Float[Tensor, "F d"]:
        """Return the rows of all features: memory-mapped where nothing is folded."""
        matrix = self.tensor.whole().view(-1, self.tensor.shape[-1])
        rows = matrix.T.contiguous() if self.transposed else matrix[self.first :: self.step][:n_features]
        rows = rows if self.feature_scale is None else rows * self.feature_scale[:, None]
        return rows if self.scale is None else rows * self.scale

    def squared_norms(self, n_features: int) -> Float[Tensor, " F"]:
        """Return each row's sum of squares, a block of features after the other."""
        step = max(1, BLOCK_BYTES // (self.tensor.shape[-1] * self.tensor.dtype.itemsize))
        blocks = (torch.arange(start, min(start + step, n_features)) for start in range(0, n_features, step))
        return torch.cat([self.rows(block).float().pow(2).sum(-1) for block in blocks])


@dataclass(frozen=True)
class StoredDecoder:
    """Decoder rows of one layer's features, read when a prompt needs them."""

    shape: tuple[int, int, int]
    """(F, W, d), as a decoder in memory has it."""

    written: tuple[WrittenRows, ...]
    """For each layer written to, from the features' own."""

    def rows(self, features: Int[Tensor, " n"], write: int) -> Float[Tensor, "n d"]:
        """Return these features' decoder rows for the layer `write` steps above their own."""
        return self.written[write].rows(features)

    def whole(self) -> Float[Tensor, "F W d"]:
        """Return all rows, in memory."""
        return torch.stack([rows.whole(self.shape[0]) for rows in self.written], dim=1)

    def scaled(
        self, by: Sequence[float] = (), feature_scale: Float[Tensor, "W F"] | None = None
    ) -> StoredDecoder:
        """Return the same decoder with a factor for each layer written to, or for each feature there."""
        written = self.written
        if any(factor != 1 for factor in by):
            written = tuple(
                replace(rows, scale=torch.full(self.shape[-1:], factor))
                for rows, factor in zip(written, by, strict=True)
            )
        if feature_scale is not None:
            written = tuple(
                replace(rows, feature_scale=scale) for rows, scale in zip(written, feature_scale, strict=True)
            )
        return replace(self, written=written)

    def norms(self) -> Float[Tensor, " F"]:
        """Return the norm of all that each feature writes; the whole file is read, in blocks."""
        return sum(rows.squared_norms(self.shape[0]) for rows in self.written).sqrt()

    @classmethod
    def per_layer(cls, tensor: StoredTensor) -> StoredDecoder:
        """Return the decoder of a PLT's layer, stored as (F, d)."""
        return cls((tensor.shape[0], 1, tensor.shape[1]), (WrittenRows(tensor),))

    @classmethod
    def cross_layer(cls, tensor: StoredTensor, skip: int = 0) -> StoredDecoder:
        """Return the decoder of a CLT's layer, stored as (F, layers, d), from the layer number `skip`."""
        features, layers, width = tensor.shape
        written = tuple(WrittenRows(tensor, write, layers) for write in range(skip, layers))
        return cls((features, len(written), width), written)


@dataclass(frozen=True)
class StoredEncoder:
    """Encoder rows of one layer's features, as (F, d) or transposed, read when they are used."""

    tensor: StoredTensor
    """The tensor that holds them."""

    shape: tuple[int, int]
    """(F, d), as an encoder in memory has it."""

    transposed: bool = False
    """The file holds (d, F)."""

    first: int = 0
    """First row of the tensor that belongs to this layer."""

    scale: Float[Tensor, " d"] | None = None
    """Folded into each feature's row: one over the deviation of a standardised input."""

    device: torch.device | None = None
    """Device to put rows on (default: main memory)."""

    dtype: torch.dtype | None = None
    """Element type in which they are wanted; by default the file's."""

    @classmethod
    def of(cls, tensor: StoredTensor, transposed: bool = False) -> StoredEncoder:
        """Return the encoder that a matrix holds."""
        return cls(tensor, tensor.shape[::-1] if transposed else tensor.shape, transposed)

    def to(self, device: torch.device, dtype: torch.dtype) -> StoredEncoder:
        """Return the same encoder, whose rows come to a device in a precision."""
        return replace(self, device=device, dtype=dtype)

    def whole(self) -> Float[Tensor, "F d"]:
        """Return all rows, one after the other: memory-mapped where the file has them so."""
        rows, width = self._stored_shape
        matrix = self.tensor.whole().view(-1, width)[self.first : self.first + rows]
        matrix = matrix.T.contiguous() if self.transposed else matrix
        return matrix if self.scale is None else matrix * self.scale

    def __getitem__(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return these features' rows; of a transposed encoder the whole file is read, in blocks."""
        features = features.cpu()
        if not self.transposed:
            rows = self.tensor.rows(self.first + features)
        else:
            rows = torch.cat([block[:, features].T for _, block in self._blocks()], dim=1)
        rows = rows if self.scale is None else rows * self.scale
        return rows.to(self.device or rows.device, self.dtype or rows.dtype)

    def products(self, inputs: Float[Tensor, "T d"]) -> Float[Tensor, "T F"]:
        """Return every feature's product with the inputs, a block of the file after the other."""
        # W diag(s) x = W (s x): scaling the inputs is scaling every row.
        inputs = inputs if self.scale is None else inputs * self.scale.to(inputs)
        products = inputs.new_zeros(len(inputs), self.shape[0])
        for part, block in self._blocks():
            block = block.to(inputs)
            if self.transposed:
                products.addmm_(inputs[:, part], block)
            else:
                products[:, part] = inputs @ block.T
        return products

    @property
    def _stored_shape(self) -> tuple[int, int]:
        return self.shape[::-1] if self.transposed else self.shape

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        rows, width = self._stored_shape
        step = max(1, BLOCK_BYTES // (width * self.tensor.dtype.itemsize))
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            yield part, self.tensor.block(self.first + part.start, self.first + part.stop)


def _blocks(tensor: StoredTensor) -> Iterator[Tensor]:
    """Read a whole tensor, some rows at a time."""
    rows = prod(tensor.shape[:-1])
    step = max(1, BLOCK_BYTES // (tensor.shape[-1] * tensor.dtype.itemsize))
    for start in range(0, rows, step):
        yield tensor.block(start, min(start + step, rows))
