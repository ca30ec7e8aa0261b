"""Edges by one top-down pass: many rows of the adjacency matrix at once.

With patterns and norm denominators fixed, the gradient of a feature's pre-activation or of a logit
flows down the residual stream through three matrix products a layer. A block of rows is carried down
together: rows join at the layer where they read, and wherever sources write, one product per position
with that position's source vectors gives the edges of every row. No autograd, no copies of the prompt.

Rows are sorted by layer, so those alive are always the first of the block, and a block holds rows of
similar position, so little is computed after a row's own position. The mixed values are kept head by
head, `(H h) x (R T)`: then all three products are plain ones, without a transposed copy in between.

Legend: R rows, T positions, L layers, d model width, H heads, K key/value heads, h head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.attribution.matmul_precision import add_matmul
from pipeline.attribution.row_blocks import RowBlock
from pipeline.attribution.source_vectors import LayerVectors
from pipeline.attribution.targets import ResolvedTargets
from pipeline.graph import TOKEN_LAYER, EdgeBlock, SourceIndex
from pipeline.model import FrozenModel

PATTERN_TILE = 256
"""Keys whose pattern is multiplied at once; long prompts skip what lies above the diagonal."""


class Workspace:
    """Memory that passes use again and again: fresh pages cost as much as some of the products."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.device], Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Return uninitialised memory of a shape, the same that this name had before where it is enough."""
        size, key = math.prod(shape), (name, like.device)
        if key not in self._buffers or self._buffers[key].numel() < size:
            self._buffers[key] = like.new_empty(size)
        return self._buffers[key][:size].view(shape)


@dataclass(frozen=True)
class PassInputs:
    """Inputs of one pass over a prompt's rows."""

    frozen: FrozenModel
    vectors: tuple[LayerVectors, ...]
    sources: SourceIndex
    targets: ResolvedTargets | None
    """Targets to explain, with their gradients; None where all rows are given as gradients."""

    matmul_dtype: torch.dtype | None = None
    """Precision of the factors of all products; None for the model's."""

    workspace: Workspace = field(default_factory=Workspace)
    """Memory that all blocks share."""


def attribution_pass(inputs: PassInputs, block: RowBlock) -> list[EdgeBlock]:
    """Compute all edges into the rows of one block."""
    frozen = inputs.frozen
    gradient_RTd = inputs.workspace.take(
        "gradient", frozen.tokens, len(block.rows), block.n_positions, frozen.tokens.shape[1]
    ).zero_()
    _join(inputs, block, len(frozen.layers), gradient_RTd)
    return carry_down(inputs, block, gradient_RTd)


def carry_down(inputs: PassInputs, block: RowBlock, gradient_RTd: Float[Tensor, "R T d"]) -> list[EdgeBlock]:
    """Compute all edges into the rows of one block from the gradients of those that read above all layers.

    Args:
        inputs: the frozen prompt; of its targets those that read at a layer join there.
        block: the rows.
        gradient_RTd: gradients in the residual stream above the layers; carried down in place.

    """
    frozen = inputs.frozen
    n_layers = len(frozen.layers)
    live = block.live[n_layers]
    edges, values = _EdgeWriter(inputs, block), _ValuesBelow(inputs, block)
    for layer in range(n_layers - 1, -1, -1):
        gradient_RTd = _on_device_of(inputs, layer, gradient_RTd, live)
        if frozen.layers[layer].maps.scalar != 1:
            gradient_RTd[:live] *= frozen.layers[layer].maps.scalar
        edges.write(layer, gradient_RTd[:live])
        # Before the attention, which adds to the gradients in place: side by side, the two branches read the
        # same residual stream.
        through_skip = _through_skip(inputs, layer, gradient_RTd[:live])
        if frozen.parallel:
            _attention(inputs, layer, gradient_RTd[:live], values)
        if through_skip is not None:
            gradient_RTd[:live] += through_skip
        # Features read what their layer's attention writes, so rows join before it is passed; side by side
        # with it they do not.
        _join(inputs, block, layer, gradient_RTd)
        live = block.live[layer]
        if not frozen.parallel:
            _attention(inputs, layer, gradient_RTd[:live], values)
    edges.write_tokens(gradient_RTd)
    return edges.finished


def _on_device_of(
    inputs: PassInputs, layer: int, gradient_RTd: Float[Tensor, "R T d"], live: int
) -> Float[Tensor, "R T d"]:
    """Return the gradients where a layer lies; rows that join later are zero."""
    there = inputs.frozen.layers[layer].error
    if there.device == gradient_RTd.device:
        return gradient_RTd
    moved = inputs.workspace.take("gradient", there, *gradient_RTd.shape)
    moved[:live] = gradient_RTd[:live].to(there.device)
    moved[live:] = 0
    return moved


def _join(inputs: PassInputs, block: RowBlock, layer: int, gradient_RTd: Float[Tensor, "R T d"]) -> None:
    """Start the rows that read at this layer; the number of layers stands for above them all."""
    first, last = block.live[layer + 1], block.live[layer]
    middle = last - block.targets[layer]  # features come first
    here = gradient_RTd.device
    index = torch.arange(first, last, device=here)
    if first < middle:
        which = (block.rows[first:middle] - inputs.sources.layer_starts[layer]).to(here)
        positions = inputs.frozen.layers[layer].features[which, 0]
        gradient_RTd[index[: middle - first], positions] = inputs.frozen.reading_vectors(layer, which)
    if middle < last:
        which = block.rows[middle:last] - len(inputs.sources.active_features)
        positions = inputs.targets.reads[which, 1].to(here)
        gradient_RTd[index[middle - first :], positions] = inputs.targets.gradients[which].to(here)


class _ValuesBelow:
    """Gradients of values that layers above take from one below (Gemma 4), until the pass is there."""

    def __init__(self, inputs: PassInputs, block: RowBlock) -> None:
        self._inputs, self._n_rows = inputs, len(block.rows)
        self._waiting: dict[int, Float[Tensor, "K h R T"]] = {}

    def add(self, layer: int, values_KhRT: Float[Tensor, "K h r T"]) -> None:
        """Add the gradients of rows that are alive to those that wait for a layer."""
        K, h, live, T = values_KhRT.shape
        if layer not in self._waiting:
            taken = self._inputs.workspace.take(f"values of {layer}", values_KhRT, K, h, self._n_rows, T)
            self._waiting[layer] = taken.zero_()
        waiting = self._waiting[layer].to(values_KhRT.device)
        waiting[:, :, :live] += values_KhRT
        self._waiting[layer] = waiting

    def take(self, layer: int, live: int, device: torch.device) -> Float[Tensor, "K h r T"] | None:
        """Return what waits for a layer, of the rows that are alive there."""
        waiting = self._waiting.pop(layer, None)
        return None if waiting is None else waiting[:, :, :live].to(device)


def _attention(
    inputs: PassInputs, index: int, gradient_RTd: Float[Tensor, "R T d"], below: _ValuesBelow
) -> None:
    """Add what flows back through the attention branch, in place."""
    R, T, d = gradient_RTd.shape
    if R == 0:
        return
    layer, workspace, dtype = inputs.frozen.layers[index], inputs.workspace, inputs.matmul_dtype
    value, output = layer.maps.attention.value, layer.maps.attention.output
    source = layer.maps.value_layer
    H = layer.pattern.shape[0]
    h = output.shape[1] // H
    K = inputs.frozen.layers[source].maps.attention.value.shape[0] // h
    pattern_KgTT = layer.pattern[:, :T, :T].unflatten(0, (K, H // K))
    flat_Nd = gradient_RTd.view(R * T, d)
    mixed = workspace.take("mixed", flat_Nd, H * h, R * T)
    add_matmul(mixed, output.T, flat_Nd.T, 0, dtype)
    mixed = mixed.view(K, H // K, h * R, T)
    values = workspace.take("values", flat_Nd, K, h * R, T)
    for first in range(0, T, PATTERN_TILE):
        # A query sees no later key: a tile of keys needs only the queries from its own start.
        tile = slice(first, first + PATTERN_TILE)
        for head in range(H // K):
            pattern = pattern_KgTT[:, head, first:, tile]
            add_matmul(values[:, :, tile], mixed[:, head, :, first:], pattern, int(head > 0), dtype)
    if source != index:
        below.add(source, values.view(K, h, R, T))
        return
    above = below.take(index, R, values.device)
    if above is not None:
        values.view(K, h, R, T).add_(above)
    add_matmul(flat_Nd, values.view(K * h, R * T).T, value, 1, dtype)


def _through_skip(
    inputs: PassInputs, layer: int, gradient_RTd: Float[Tensor, "R T d"]
) -> Float[Tensor, "R T d"] | None:
    """Return what flows back through the transcoder's affine path, which stays live."""
    skip = inputs.frozen.transcoders.layers[layer].skip
    R, T, d = gradient_RTd.shape
    if skip is None or R == 0:
        return None
    positions = torch.arange(T, device=skip.device).repeat(R)
    read = gradient_RTd.view(R * T, d) @ skip.T
    return inputs.frozen.read_back(layer, positions, read).view(R, T, d)


class _EdgeWriter:
    """Collector of one pass's edge blocks."""

    def __init__(self, inputs: PassInputs, block: RowBlock) -> None:
        self.finished: list[EdgeBlock] = []
        self._inputs = inputs
        self._block = block
        self._open: dict[int, EdgeBlock] = {}
        self._from_tokens: Float[Tensor, "T R"] | None = None

    def write(self, layer: int, gradient_RTd: Float[Tensor, "R T d"]) -> None:
        """Add the edges from everything that is written at this layer."""
        live, T = gradient_RTd.shape[:2]
        written = self._inputs.frozen.layers[layer].token_write
        if written is not None:
            self._add_tokens(written[:T], gradient_RTd)
        for writer in self._inputs.frozen.transcoders.writers(layer):
            # The first write finds fresh memory: beta = 0 overwrites it without reading.
            beta = 1 if writer in self._open else 0
            block = self._block_of(writer, gradient_RTd)
            vectors = self._inputs.vectors[writer]
            written = vectors.at(layer - writer)
            for position in range(T if live else 0):
                cell = slice(vectors.cells[position], vectors.cells[position + 1])
                edges = block.weights[cell, :live]
                add_matmul(edges, written[cell], gradient_RTd[:, position].T, beta, self._inputs.matmul_dtype)
        self._close(layer)

    def write_tokens(self, gradient_RTd: Float[Tensor, "R T d"]) -> None:
        """Add the edges from the tokens."""
        T = gradient_RTd.shape[1]
        home = self._inputs.frozen.tokens
        self._add_tokens(home[:T], gradient_RTd.to(home.device))
        self.finished.append(
            EdgeBlock(TOKEN_LAYER, self._inputs.sources.tokens[:T], self._block.rows, self._from_tokens)
        )

    def _add_tokens(self, written_Td: Float[Tensor, "T d"], gradient_RTd: Float[Tensor, "R T d"]) -> None:
        """Add what tokens write at one layer, or in front of them all, to their edges."""
        weights = torch.einsum("rtd,td->tr", gradient_RTd, written_Td).to(self._inputs.frozen.tokens.device)
        weights = nn.functional.pad(weights, (0, len(self._block.rows) - weights.shape[1]))
        self._from_tokens = weights if self._from_tokens is None else self._from_tokens + weights

    def _block_of(self, layer: int, gradient_RTd: Float[Tensor, "R T d"]) -> EdgeBlock:
        """Return the open block of a layer's sources, where the gradients are now."""
        if layer not in self._open:
            vectors = self._inputs.vectors[layer]
            n_sources = vectors.cells[self._block.n_positions]
            n_rows = self._block.live[layer + 1]
            # A CLT's later writes reach rows that the first did not: those start at zero.
            make = gradient_RTd.new_zeros if vectors.above else gradient_RTd.new_empty
            rows = self._block.rows[:n_rows]
            numbers = torch.arange(vectors.start, vectors.start + n_sources, device=rows.device)
            self._open[layer] = EdgeBlock(layer, numbers, rows, make(n_sources, n_rows))
        self._send(layer, gradient_RTd.device)
        return self._open[layer]

    def _send(self, layer: int, device: torch.device) -> None:
        block = self._open[layer]
        if block.weights.device != device:
            self._open[layer] = replace(block, weights=block.weights.to(device))

    def _close(self, layer: int) -> None:
        self._send(layer, self._block.rows.device)  # graphs are put together at the model's home
        block = self._open.pop(layer)
        if block.weights.numel():
            self.finished.append(block)
