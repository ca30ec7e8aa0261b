"""Random attribution graphs, built without a model."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.graph.attribution_graph import AttributionGraph, Prediction, Reconstruction, Target
from pipeline.graph.edge_blocks import TOKEN_LAYER, EdgeBlock, EdgeBlocks, SourceIndex


def random_graph(
    n_layers: int, n_positions: int, n_features: int, n_targets: int, seed: int, expanded_share: float = 1.0
) -> AttributionGraph:
    """A graph with causal edges of random weight, about half of them zero."""
    generator = torch.Generator().manual_seed(seed)
    active = _active_features(n_layers, n_positions, n_features, generator)
    sources = SourceIndex(active, n_layers, n_positions)
    n = len(active)
    expanded = (torch.rand(n, generator=generator) < expanded_share).nonzero()[:, 0]
    blocks = []
    rows = torch.cat((expanded, n + torch.arange(n_targets)))
    row_layer = torch.cat((active[expanded, 0], torch.full((n_targets,), n_layers)))
    row_position = torch.cat((active[expanded, 1], torch.full((n_targets,), n_positions - 1)))
    for layer in range(TOKEN_LAYER, n_layers):
        first, last = _span(sources, layer)
        reads_above = row_layer > layer
        position = torch.cat([torch.full((size,), p) for p, size in enumerate(_sizes(sources, layer))])
        weights = torch.randn(last - first, int(reads_above.sum()), generator=generator)
        weights *= torch.rand(weights.shape, generator=generator) < 0.5
        weights *= position[:, None] <= row_position[reads_above]
        blocks.append(EdgeBlock(layer, torch.arange(first, last), rows[reads_above], weights))
    probabilities = torch.rand(n_targets, generator=generator).sort(descending=True).values / n_targets
    return AttributionGraph(
        prompt="random",
        input_tokens=torch.randint(0, 100, (n_positions,), generator=generator),
        token_strings=tuple(f"t{position}" for position in range(n_positions)),
        n_layers=n_layers,
        active_features=active,
        activations=torch.rand(n, generator=generator) + 0.1,
        expanded=expanded,
        targets=tuple(Target(f"y{k}", 200 + k, p) for k, p in enumerate(probabilities.tolist())),
        edges=EdgeBlocks(sources, n_targets, tuple(blocks)),
        prediction=Prediction("y0", 200, 0.5, 1.0),
        target_values=torch.randn(n_targets, generator=generator),
        reconstruction=random_reconstruction(n_layers, n_positions, generator),
    )


def random_reconstruction(n_layers: int, n_positions: int, generator: torch.Generator) -> Reconstruction:
    drawn = (torch.rand(n_layers, n_positions, generator=generator) for _ in range(3))
    return Reconstruction(*drawn, zero_positions=0)


def _active_features(n_layers: int, n_positions: int, count: int, generator: torch.Generator) -> Tensor:
    cells = torch.stack(
        (
            torch.randint(0, n_layers, (count,), generator=generator),
            torch.randint(0, n_positions, (count,), generator=generator),
            torch.randint(0, 50, (count,), generator=generator),
        ),
        dim=1,
    )
    return cells.unique(dim=0)


def _span(sources: SourceIndex, layer: int) -> tuple[int, int]:
    if layer == TOKEN_LAYER:
        return int(sources.cell_starts[-1]), sources.count
    T = sources.n_positions
    return int(sources.cell_starts[layer * T]), int(sources.cell_starts[(layer + 1) * T])


def _sizes(sources: SourceIndex, layer: int) -> list[int]:
    T = sources.n_positions
    if layer == TOKEN_LAYER:
        return [1] * T
    return sources.cell_starts[layer * T : (layer + 1) * T + 1].diff().tolist()
