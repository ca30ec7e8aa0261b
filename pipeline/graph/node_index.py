"""Numbering of a graph's nodes, and the maps from and to sources and rows.

Order (circuit-tracer's): expanded features, errors layer-major, tokens, targets.

Legend: N nodes, K targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.graph.edge_blocks import EdgeBlocks


@dataclass(frozen=True)
class NodeIndex:
    """The numbers of one graph's nodes."""

    source: Int[Tensor, " N-K"]
    """Source number of each node but the targets."""

    of_source: Int[Tensor, " sources"]
    """Node of each source; -1 for features that were not expanded."""

    of_row: Int[Tensor, " rows"]
    """Node of each row; -1 for features that were not expanded."""

    first_error: int
    first_token: int
    first_target: int

    count: int
    """Number of nodes, N."""

    @property
    def is_node(self) -> Bool[Tensor, " sources"]:
        """Sources that are nodes: all but unexpanded features."""
        return self.of_source >= 0

    @classmethod
    def of(cls, edges: EdgeBlocks, expanded: Int[Tensor, " m"]) -> NodeIndex:
        """Number the nodes of a graph.

        Args:
            edges: the graph's edges.
            expanded: indices of the active features that have a row, ascending.

        """
        sources, device = edges.sources, edges.device
        expanded = expanded.to(device)
        source = torch.cat((sources.features[expanded], sources.errors, sources.tokens))
        first_error = len(expanded)
        first_token = first_error + len(sources.errors)
        first_target = len(source)
        of_source = torch.full((sources.count,), -1, device=device)
        of_source[source] = torch.arange(len(source), device=device)
        of_row = torch.full((edges.n_rows,), -1, device=device)
        of_row[expanded] = torch.arange(first_error, device=device)
        of_row[-edges.n_targets :] = first_target + torch.arange(edges.n_targets, device=device)
        return cls(
            source=source,
            of_source=of_source,
            of_row=of_row,
            first_error=first_error,
            first_token=first_token,
            first_target=first_target,
            count=first_target + edges.n_targets,
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
