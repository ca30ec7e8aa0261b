"""Leave out the edges that cannot matter, where all of them would not fit.

A row of a long prompt sees hundreds of thousands of features, nearly all of them faintly. Each row keeps its
own strongest edges, and all errors and tokens: a function of the row alone, so a graph does not depend on
which rows were traced together. Those are close in position and layer and share their strong sources, so
their edges are held as one rectangle over the sources that any of them keeps, zero where a row keeps none.
The mass of what is left out is kept per row, so that shares stay shares of everything.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from pipeline.graph import TOKEN_LAYER, EdgeBlock, SourceIndex


def keep_top_edges(blocks: list[EdgeBlock], sources: SourceIndex, edges_per_row: int) -> list[EdgeBlock]:
    """Keep errors, tokens and each row's strongest features.

    Args:
        blocks: all edges of some rows, one block a layer.
        sources: numbering of the sources.
        edges_per_row: number of a row's strongest feature edges to keep; equally strong ones stay too.

    """
    is_error = torch.zeros(sources.count, dtype=torch.bool, device=sources.errors.device)
    is_error[sources.errors] = True
    cut = _weakest_kept(blocks, is_error, edges_per_row)
    return [
        block if block.layer == TOKEN_LAYER else _top_of_block(block, is_error[block.sources], cut)
        for block in blocks
    ]


def _weakest_kept(
    blocks: list[EdgeBlock], is_error: Bool[Tensor, " sources"], count: int
) -> dict[int, float]:
    """Return, for each row, the size of the weakest feature edge that is kept for its own sake."""
    strongest: dict[int, Tensor] = {}
    for block in blocks:
        if block.layer == TOKEN_LAYER:
            continue
        features = block.weights[~is_error[block.sources]].abs()
        top = features.topk(min(count, len(features)), dim=0).values
        for column, row in enumerate(block.rows.tolist()):
            both = top[:, column] if row not in strongest else torch.cat((strongest[row], top[:, column]))
            strongest[row] = both.topk(min(count, len(both))).values
    return {row: float(values[-1]) if len(values) else 0.0 for row, values in strongest.items()}


def _top_of_block(block: EdgeBlock, is_error: Bool[Tensor, " S"], cut: dict[int, float]) -> EdgeBlock:
    limits = block.weights.new_tensor([cut[row] for row in block.rows.tolist()])
    size = block.weights.abs()
    keep = is_error[:, None] | (size >= limits)
    held = keep.any(1)
    return replace(
        block,
        sources=block.sources[held],
        weights=block.weights[held].where(keep[held], 0),
        dropped=size.masked_fill_(keep, 0).sum(0),
        dropped_sum=block.weights.masked_fill(keep, 0).sum(0),
    )
