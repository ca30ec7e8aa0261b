"""Some rows of a graph computed again, in float64, by the model's own code.

Patterns, norm denominators and MLP outputs are pinned, and autograd takes the gradient of each target. That
shares no arithmetic with the engine, and is far too slow for anything but a comparison.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.attribution import AttributionOptions, attribute
from pipeline.graph import AttributionGraph
from pipeline.inspection.pinned_copy import PinnedCopy
from pipeline.model import ReplacementModel

ROWS = 16
"""Features whose rows are compared."""

POSITIONS = 8
"""Most positions of the prompt that is compared."""


def largest_deviation(model: ReplacementModel, tokens: Int[Tensor, " T"]) -> float:
    """Return how far edges of one graph are from the reference, as a share of the largest edge."""
    tokens = tokens[: max(POSITIONS, model.zero_positions + 1)]
    graph = attribute(model, tokens, options=AttributionOptions(max_feature_nodes=ROWS))
    exact = replace(
        model,
        model=copy.deepcopy(model.model).cpu().double(),
        transcoders=model.transcoders.to("cpu", torch.float64),
    )
    expected = _rows(exact, graph, tokens.tolist())
    n_sources = graph.edges.sources.count
    found = torch.zeros(len(expected), n_sources, dtype=torch.float64)
    rows = [*graph.expanded.tolist(), *range(len(graph.active_features), graph.edges.n_rows)]
    number = {row: index for index, row in enumerate(rows)}
    for block in graph.edges.blocks:
        here = torch.tensor([number[row] for row in block.rows.tolist()])
        found[here[:, None], block.sources.cpu()] = block.weights.T.double().cpu()
    return float((found - expected).abs().max() / expected.abs().max())


def _rows(
    model: ReplacementModel, graph: AttributionGraph, tokens: list[int]
) -> Float[Tensor, "rows sources"]:
    """Return the edges into the graph's expanded features, then into its targets."""
    pinned = PinnedCopy(model, tokens)
    vectors = pinned.token_vectors.clone().requires_grad_()
    writes = [written.clone().requires_grad_() for written in pinned.written]
    by_token = {layer: written.clone().requires_grad_() for layer, written in pinned.token_writes.items()}
    final = pinned(vectors, writes, by_token)
    unembedding = model.unembedding
    targets = unembedding[[target.token_id for target in graph.targets]] - unembedding.mean(0)
    values = [
        pinned.reads[layer][position] @ model.transcoders.layers[layer].encoder[torch.tensor([feature])][0]
        for layer, position, feature in graph.active_features[graph.expanded].tolist()
    ]
    values += [target @ final for target in targets]
    sources = _Sources(model, graph, pinned)
    leaves = [vectors, *by_token.values(), *writes]
    gradients = (
        torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True) for value in values
    )
    n = 1 + len(by_token)
    return torch.stack([sources.times(found[:n], found[n:]) for found in gradients])


class _Sources:
    """What every source writes, by layer written to."""

    def __init__(self, model: ReplacementModel, graph: AttributionGraph, pinned: PinnedCopy) -> None:
        self._index = graph.edges.sources
        self._tokens = torch.stack([pinned.token_vectors, *pinned.token_writes.values()])
        features = graph.active_features.cpu()
        amounts = graph.activations.cpu().double()
        self._written: list[tuple[int, Tensor, Tensor, Tensor]] = []
        errors = []
        for layer, transcoder in enumerate(model.transcoders.layers):
            skip = 0 if transcoder.skip is None else pinned.first_reads[layer] @ transcoder.skip
            errors.append(pinned.written[layer] - transcoder.decoder_bias - skip)
        for layer, transcoder in enumerate(model.transcoders.layers):
            here = (features[:, 0] == layer).nonzero()[:, 0]
            positions = features[here, 1]
            for write in range(transcoder.decoder.shape[1]):
                rows = transcoder.decoder_rows(features[here, 2], write).double() * amounts[here, None]
                self._written.append((layer + write, here, positions, rows))
                errors[layer + write] = errors[layer + write].index_add(0, positions, -rows)
        self._errors = torch.stack(errors)
        self._errors[:, : model.zero_positions] = 0

    def times(self, at_tokens: Sequence[Tensor], at_layers: Sequence[Tensor]) -> Float[Tensor, " sources"]:
        """Return the product of each source with the gradients where it writes."""
        edges = self._tokens.new_zeros(self._index.count)
        features = self._index.features.cpu()
        for layer, here, positions, rows in self._written:
            edges[features[here]] += (rows * at_layers[layer][positions]).sum(-1)
        edges[self._index.errors.cpu()] = (self._errors * torch.stack(tuple(at_layers))).sum(-1).flatten()
        edges[self._index.tokens.cpu()] = (self._tokens * torch.stack(tuple(at_tokens))).sum((0, -1))
        return edges
