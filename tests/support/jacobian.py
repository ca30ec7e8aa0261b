"""The adjacency matrix of a graph as autograd takes it through a pinned copy of the model, in float64."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from pipeline import ReplacementModel, attribute
from pipeline.graph.attribution_graph import AttributionGraph
from pipeline.inspection.pinned_copy import PinnedCopy


def traced(model: ReplacementModel, tokens: list[int]) -> tuple[AttributionGraph, PinnedCopy]:
    graph = attribute(model, tokens)
    pinned = copy.deepcopy(model.model)
    return graph, PinnedCopy(ReplacementModel(**{**model.__dict__, "model": pinned}), tokens)


def constant_writes(model: ReplacementModel, pinned: PinnedCopy) -> list[Tensor]:
    """What each MLP writes, (T, d), where no source is: biases, and everything at the opening positions."""
    constants = []
    for layer, transcoder in enumerate(model.transcoders.layers):
        constant = pinned.written[layer].clone()
        if transcoder.skip is not None:
            constant -= pinned.first_reads[layer] @ transcoder.skip
        constant[model.zero_positions :] = transcoder.decoder_bias
        constants.append(constant)
    return constants


def _unembedding_rows(model: ReplacementModel, graph: AttributionGraph) -> Tensor:
    unembedding = model.unembedding
    return unembedding[[target.token_id for target in graph.targets]] - unembedding.mean(0)


def _reconstruction(model: ReplacementModel, graph: AttributionGraph, layer: int, bias: bool) -> Tensor:
    """What features (and the decoder's bias) write at a layer, without the skip path."""
    written = torch.zeros(graph.n_positions, model.d_model, dtype=torch.float64)
    for (reads_at, position, feature), activation in zip(
        graph.active_features.tolist(), graph.activations.tolist(), strict=True
    ):
        decoder = model.transcoders.layers[reads_at].decoder[feature]
        if 0 <= layer - reads_at < len(decoder):
            written[position] += activation * decoder[layer - reads_at]
    return written + model.transcoders.layers[layer].decoder_bias if bias else written


def jacobian(model: ReplacementModel, graph: AttributionGraph, pinned: PinnedCopy) -> Tensor:
    """The adjacency matrix by autograd, rows of errors and tokens left at 0."""
    tokens = pinned.token_vectors.clone().requires_grad_()
    writes = [written.clone().requires_grad_() for written in pinned.written]
    by_token = {layer: written.clone().requires_grad_() for layer, written in pinned.token_writes.items()}
    final = pinned(tokens, writes, by_token)
    values = [
        pinned.reads[layer][position] @ model.transcoders.layers[layer].encoder[feature]
        for layer, position, feature in graph.active_features.tolist()
    ]
    rows = [(index, value) for index, value in enumerate(values)]
    first_target = graph.n_nodes - len(graph.targets)
    rows += [(first_target + k, vector @ final) for k, vector in enumerate(_unembedding_rows(model, graph))]
    matrix = torch.zeros(graph.n_nodes, graph.n_nodes, dtype=torch.float64)
    for row, value in rows:
        leaves = [tokens, *by_token.values(), *writes]
        gradients = torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True)
        of_tokens, of_writes = gradients[: -len(writes)], gradients[-len(writes) :]
        matrix[row, :first_target] = sources_dot(model, graph, pinned, of_tokens, of_writes)
    return matrix


def sources_dot(
    model: ReplacementModel,
    graph: AttributionGraph,
    pinned: PinnedCopy,
    token_gradients: tuple[Tensor, ...],
    write_gradients: tuple[Tensor, ...],
) -> Tensor:
    features = []
    for (layer, position, feature), activation in zip(
        graph.active_features.tolist(), graph.activations.tolist(), strict=True
    ):
        decoder = model.transcoders.layers[layer].decoder[feature]
        reached = torch.stack([write_gradients[layer + write][position] for write in range(len(decoder))])
        features.append(activation * (decoder * reached).sum())
    errors = [
        (_error(model, graph, pinned, layer) * write_gradients[layer]).sum(-1)
        for layer in range(graph.n_layers)
    ]
    written = (pinned.token_vectors, *pinned.token_writes.values())
    tokens = [(own * reached).sum(-1) for own, reached in zip(written, token_gradients, strict=True)]
    return torch.cat((torch.stack(features), *errors, torch.stack(tokens).sum(0)))


def _error(model: ReplacementModel, graph: AttributionGraph, pinned: PinnedCopy, layer: int) -> Tensor:
    skip = model.transcoders.layers[layer].skip
    live = 0 if skip is None else pinned.first_reads[layer] @ skip
    error = pinned.written[layer] - live - _reconstruction(model, graph, layer, bias=True)
    error[: model.zero_positions] = 0
    return error
