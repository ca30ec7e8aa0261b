"""A graph's nodes in their public order, and the maps from and to sources and rows.

Order (circuit-tracer's): expanded features, errors layer-major, tokens, targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.graph.attribution_graph import AttributionGraph, Target


@dataclass(frozen=True)
class Nodes:
    """The N nodes of one graph."""

    kind: Int[Tensor, " N"]
    layer: Int[Tensor, " N"]
    position: Int[Tensor, " N"]
    feature: Int[Tensor, " N"]
    activation: Float[Tensor, " N"]

    source: Int[Tensor, " N-K"]
    """Source number of each node but the targets."""

    of_source: Int[Tensor, " sources"]
    """Node of each source; -1 for features that were not expanded."""

    of_row: Int[Tensor, " rows"]
    """Node of each row; -1 for features that were not expanded."""

    first_error: int
    first_token: int
    first_target: int

    @property
    def count(self) -> int:
        """Number of nodes, N."""
        return len(self.kind)

    @property
    def takes_part(self) -> Bool[Tensor, " sources"]:
        """Sources that are nodes: all but unexpanded features."""
        return self.of_source >= 0

    @classmethod
    def of(cls, graph: AttributionGraph) -> Nodes:
        """Number the nodes of a graph."""
        device = graph.edges.device
        sources = graph.edges.sources
        expanded = graph.expanded.to(device)
        n_targets = len(graph.targets)
        source = torch.cat((sources.features[expanded], sources.errors, sources.tokens))
        first_error = len(expanded)
        first_token = first_error + len(sources.errors)
        first_target = first_token + graph.n_positions
        of_source = torch.full((sources.count,), -1, device=device)
        of_source[source] = torch.arange(len(source), device=device)
        of_row = torch.full((graph.edges.n_rows,), -1, device=device)
        of_row[expanded] = torch.arange(first_error, device=device)
        of_row[-n_targets:] = first_target + torch.arange(n_targets, device=device)
        return cls(
            **_columns(graph),
            source=source,
            of_source=of_source,
            of_row=of_row,
            first_error=first_error,
            first_token=first_token,
            first_target=first_target,
        )

    def from_sources(self, values: Float[Tensor, " sources"]) -> Float[Tensor, " N"]:
        """Turn values by source into values by node; targets get 0."""
        return torch.cat((values[self.source], values.new_zeros(self.count - len(self.source))))

    def to_sources(self, mask: Bool[Tensor, " N"]) -> Bool[Tensor, " sources"]:
        """Turn a mask over nodes into one over sources."""
        return _lookup(mask, self.of_source)

    def to_rows(self, mask: Bool[Tensor, " N"]) -> Bool[Tensor, " rows"]:
        """Turn a mask over nodes into one over rows."""
        return _lookup(mask, self.of_row)


def _lookup(mask: Bool[Tensor, " N"], index: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    return torch.where(index >= 0, mask[index.clamp(min=0)], False)


def _columns(graph: AttributionGraph) -> dict[str, Tensor]:
    """Return kind, layer, position, feature and activation of every node."""
    device = graph.edges.device
    T, L, K = graph.n_positions, graph.n_layers, len(graph.targets)
    layer, position, feature = graph.active_features[graph.expanded].to(device).unbind(1)
    positions = torch.arange(T, device=device)
    targets = torch.tensor([_target_columns(target, L, T) for target in graph.targets], device=device)
    sizes = torch.tensor([len(layer), L * T, T, K], device=device)
    return {
        "kind": torch.repeat_interleave(torch.arange(4, device=device, dtype=torch.uint8), sizes),
        "layer": torch.cat(
            (
                layer,
                torch.arange(L, device=device).repeat_interleave(T),
                -torch.ones_like(positions),
                targets[:, 0],
            )
        ),
        "position": torch.cat((position, positions.repeat(L), positions, targets[:, 1])),
        "feature": torch.cat(
            (feature, layer.new_full((L * T,), -1), graph.input_tokens.to(device), targets[:, 2])
        ),
        "activation": torch.cat(
            (
                graph.activations[graph.expanded].to(device),
                torch.zeros((L + 1) * T, device=device),
                graph.target_probabilities.to(device),
            )
        ),
    }


def _target_columns(target: Target, n_layers: int, n_positions: int) -> tuple[int, int, int]:
    """Return layer, position and id of a target's node."""
    layer = n_layers if target.layer is None else target.layer
    position = n_positions - 1 if target.position is None else target.position
    return layer, position, target.token_id
