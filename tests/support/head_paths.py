"""Loadings of heads as autograd takes them through a pinned copy of the model.

What a source leaves in a head's values comes from a run without the other sources; what a target reads of a
head from one in which no attention moves anything but what a probe puts there.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pipeline import ReplacementModel
from pipeline.graph import AttributionGraph, NodeKind, PrunedGraph
from pipeline.inspection.pinned_copy import PinnedCopy


class ProbedCopy(PinnedCopy):
    """A pinned copy that tells each layer's values, and whose heads can be silenced and probed."""

    probes: list[Tensor] | None = None

    def __init__(self, model: ReplacementModel, tokens: list[int]) -> None:
        self.values: dict[int, Tensor] = {}
        self.patterns: dict[int, Tensor] = {}
        copied = copy.deepcopy(model.model)
        super().__init__(ReplacementModel(**{**model.__dict__, "model": copied}), tokens)

    def _attention(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest, **options):
        moved, pattern = super()._attention(module, query, key, value, *rest, **options)
        index = module.layer_idx
        self.values[index], self.patterns[index] = value[0].detach(), pattern[0]
        return moved if self.probes is None else moved * 0 + self.probes[index][None], pattern


def values_of(pinned: ProbedCopy, model: ReplacementModel, pruned: PrunedGraph, node: int) -> list[Tensor]:
    """What one source leaves in the values of every layer's heads, (K, T, h)."""
    nothing = torch.zeros_like(pinned.token_vectors)
    writes = [nothing.clone() for _ in pinned.written]
    tokens, by_token = nothing.clone(), {}
    kind, layer, at = (int(part[node]) for part in (pruned.kind, pruned.layer, pruned.position))
    if kind == NodeKind.TOKEN:
        tokens[at] = pinned.token_vectors[at]
        by_token = {index: torch.zeros_like(wrote) for index, wrote in pinned.token_writes.items()}
        for index, wrote in pinned.token_writes.items():
            by_token[index][at] = wrote[at]
    else:
        decoder = model.transcoders.layers[layer].decoder[int(pruned.feature[node])]
        for write, row in enumerate(decoder):
            writes[layer + write][at] += pruned.activation[node] * row
    pinned(tokens, writes, by_token)
    with_source = dict(pinned.values)
    pinned(nothing, [nothing] * len(writes))
    return [with_source[index] - pinned.values[index] for index in range(len(writes))]


def reads_of(
    pinned: ProbedCopy, model: ReplacementModel, graph: AttributionGraph, pruned: PrunedGraph, node: int
) -> list[Tensor]:
    """What a target reads of every layer's heads at its own position, (H, h)."""
    nothing = torch.zeros_like(pinned.token_vectors)
    pinned(nothing, [nothing] * len(pinned.written))
    shapes = [
        (graph.n_positions, pinned.patterns[index].shape[0], pinned.values[index].shape[-1])
        for index in range(len(pinned.written))
    ]
    pinned.probes = [nothing.new_zeros(shape).requires_grad_() for shape in shapes]
    final = pinned(nothing, [nothing] * len(pinned.written))
    kind, layer, at = (int(part[node]) for part in (pruned.kind, pruned.layer, pruned.position))
    feature = int(pruned.feature[node])
    if kind == NodeKind.FEATURE:
        value = pinned.reads[layer][at] @ model.transcoders.layers[layer].encoder[feature]
    else:
        value = final @ (model.unembedding[feature] - model.unembedding.mean(0))
    gradients = torch.autograd.grad(value, pinned.probes, materialize_grads=True)
    pinned.probes = None
    return [gradient[at] for gradient in gradients]


def loadings_of_heads(
    model: ReplacementModel, graph: AttributionGraph, pruned: PrunedGraph, edge: int
) -> list[Tensor]:
    """Each layer's loadings of one edge, (H, T)."""
    pinned = ProbedCopy(model, graph.input_tokens.tolist())
    target, source = int(pruned.target[edge]), int(pruned.source[edge])
    values = values_of(pinned, model, pruned, source)
    reads = reads_of(pinned, model, graph, pruned, target)
    at = int(pruned.position[target])
    found = []
    for index, (moved, read) in enumerate(zip(values, reads, strict=True)):
        groups = len(read) // len(moved)
        brought = (moved.repeat_interleave(groups, dim=0) * read[:, None]).sum(-1)
        found.append(brought * pinned.patterns[index][:, at])
    return found
