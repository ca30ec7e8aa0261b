"""Attention scores and their components as autograd takes them through a pinned copy of the model."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline import ReplacementModel
from pipeline.graph import AttributionGraph, Component
from pipeline.inspection.pinned_copy import PinnedCopy
from pipeline.model import optional_module
from tests.support.jacobian import constant_writes, sources_dot

Name = tuple[int, int, int, int]


class ScoredCopy(PinnedCopy):
    """A pinned copy whose norms of queries and keys are pinned too, and that tells both."""

    def __init__(self, model: ReplacementModel, tokens: list[int]) -> None:
        self.queries: dict[int, Tensor] = {}
        self.keys: dict[int, Tensor] = {}
        self.scaling: dict[int, float] = {}
        self.masks: dict[int, Tensor] = {}
        copied = copy.deepcopy(model.model)
        super().__init__(ReplacementModel(**{**model.__dict__, "model": copied}), tokens)

    def _patch(self) -> None:
        super()._patch()
        for layer in self._model.model.get_submodule(self._architecture.layers):
            attention = layer.get_submodule(self._architecture.attention)
            for name in ("q_norm", "k_norm"):
                if (norm := optional_module(attention, name)) is not None:
                    self._pin_norm(norm)

    def _attention(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask, **options):
        index = module.layer_idx
        self.queries[index], self.keys[index] = query[0], key[0]
        self.scaling[index] = options.get("scaling") or query.shape[-1] ** -0.5
        self.masks[index] = mask[0, 0]
        return super()._attention(module, query, key, value, mask, **options)


@dataclass
class BruteForce:
    """Components of one prompt's queries and keys."""

    model: ReplacementModel
    graph: AttributionGraph

    def __post_init__(self) -> None:
        self.pinned = pinned = ScoredCopy(self.model, self.graph.input_tokens.tolist())
        pinned(torch.zeros_like(pinned.token_vectors), constant_writes(self.model, pinned))
        self._constants = {"query": dict(pinned.queries), "key": dict(pinned.keys)}
        tokens = pinned.token_vectors.clone().requires_grad_()
        writes = [written.clone().requires_grad_() for written in pinned.written]
        for layer, transcoder in enumerate(self.model.transcoders.layers):
            if transcoder.skip is not None:  # the copy adds what goes through the skip path itself
                writes[layer] = (writes[layer] - pinned.first_reads[layer] @ transcoder.skip).detach()
                writes[layer].requires_grad_()
        by_token = {layer: wrote.clone().requires_grad_() for layer, wrote in pinned.token_writes.items()}
        self._leaves = [tokens, *by_token.values(), *writes]
        pinned(tokens, writes, by_token)
        self._whole = {"query": dict(pinned.queries), "key": dict(pinned.keys)}

    @property
    def names(self) -> list[Name]:
        T = self.graph.n_positions
        features = [(int(Component.FEATURE), *name) for name in self.graph.active_features.tolist()]
        errors = [
            (int(Component.ERROR), layer, position, -1)
            for layer in range(self.graph.n_layers)
            for position in range(T)
        ]
        tokens = [
            (int(Component.TOKEN), -1, position, token)
            for position, token in enumerate(self.graph.input_tokens.tolist())
        ]
        return [*features, *errors, *tokens, (int(Component.CONSTANT), -1, -1, -1)]

    def components(self, which: str, layer: int, head: int, at: list[int]) -> Tensor:
        """Components of the sum of some positions' queries or keys, (S, h)."""
        columns = []
        for number in self._whole[which][layer][head, at].sum(0):
            gradients = torch.autograd.grad(number, self._leaves, retain_graph=True, materialize_grads=True)
            of_writes = gradients[len(gradients) - self.graph.n_layers :]
            of_tokens = gradients[: len(gradients) - self.graph.n_layers]
            columns.append(sources_dot(self.model, self.graph, self.pinned, of_tokens, of_writes))
        constant = self._constants[which][layer][head, at].sum(0)
        return torch.cat((torch.stack(columns, 1), constant[None])).detach()

    def pairs(self, layer: int, head: int, query: int, key: int) -> tuple[Tensor, Tensor]:
        """Score and contrast of every pair, (S, S) each."""
        group = head * len(self.pinned.keys[layer]) // len(self.pinned.queries[layer])
        seen = [at for at in range(query + 1) if self.pinned.masks[layer][query, at] == 0]
        of_query = self.components("query", layer, head, [query]) * self.pinned.scaling[layer]
        of_key = self.components("key", layer, group, [key])
        others = self.components("key", layer, group, [at for at in seen if at != key])
        return of_query @ of_key.T, of_query @ (of_key - others / max(1, len(seen) - 1)).T
