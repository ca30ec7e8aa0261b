"""Kind, layer, position, feature and activation of a graph's nodes, in public node order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.graph.attribution_graph import AttributionGraph, Target


@dataclass(frozen=True)
class NodeColumns:
    """The N nodes of one graph."""

    kind: Int[Tensor, " N"]
    layer: Int[Tensor, " N"]
    position: Int[Tensor, " N"]
    feature: Int[Tensor, " N"]
    activation: Float[Tensor, " N"]

    @classmethod
    def of(cls, graph: AttributionGraph) -> NodeColumns:
        """Describe the nodes of a graph."""
        device = graph.edges.device
        T, L, K = graph.n_positions, graph.n_layers, len(graph.targets)
        layer, position, feature = graph.active_features[graph.expanded].to(device).unbind(1)
        positions = torch.arange(T, device=device)
        targets = torch.tensor([_target_columns(target, L, T) for target in graph.targets], device=device)
        sizes = torch.tensor([len(layer), L * T, T, K], device=device)
        layer_of_error = torch.arange(L, device=device).repeat_interleave(T)
        no_feature = layer.new_full((L * T,), -1)
        return cls(
            kind=torch.repeat_interleave(torch.arange(4, device=device, dtype=torch.uint8), sizes),
            layer=torch.cat((layer, layer_of_error, -torch.ones_like(positions), targets[:, 0])),
            position=torch.cat((position, positions.repeat(L), positions, targets[:, 1])),
            feature=torch.cat((feature, no_feature, graph.input_tokens.to(device), targets[:, 2])),
            activation=torch.cat(
                (
                    graph.activations[graph.expanded].to(device),
                    torch.zeros((L + 1) * T, device=device),
                    graph.target_probabilities.to(device),
                )
            ),
        )


def _target_columns(target: Target, n_layers: int, n_positions: int) -> tuple[int, int, int]:
    """Return layer, position and id of a target's node."""
    layer = n_layers if target.layer is None else target.layer
    position = n_positions - 1 if target.position is None else target.position
    return layer, position, target.token_id
