"""Virtual weights: the direct effect of one feature on another at one position, by the dictionary alone.

V_st = sum over the layers l that s writes to, below t, of W_dec(s, l) . r_t, where r_t is t's encoder row
pulled back through the norm that it reads through, with the norm's denominator taken as 1; where
layers multiply the residual stream by a number (Gemma 4), W_dec is multiplied on its way. A real edge within
a position is V_st a_s over the denominator there, plus what attention carries from a position to itself.
Source: "Circuit Tracing", 2025, virtual weights.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int

from pipeline.model import ReplacementModel, pull_back

BLOCK_PAIRS = 65536
"""Pairs at a time: 1.2 GB of rows at width 2304."""


def weigh_pairs(pairs: pa.Table, model: ReplacementModel) -> pa.Table:
    """Add `virtual_weight` and `twera` to pairs; null where the source is not on a lower layer."""
    source, target = (
        np.stack([pairs[f"{end}_{name}"].to_numpy() for name in ("layer", "feature")], axis=1).astype(
            np.int64
        )
        for end in ("source", "target")
    )
    weight = np.full(len(source), np.nan)
    below = np.flatnonzero(source[:, 0] < target[:, 0])
    for first in range(0, len(below), BLOCK_PAIRS):
        block = below[first : first + BLOCK_PAIRS]
        weight[block] = virtual_weights(model, source[block], target[block])
    twera = pairs["source_given_target"].to_numpy() * weight
    for name, values in (("virtual_weight", weight), ("twera", twera)):
        pairs = pairs.append_column(name, pa.array(values, mask=np.isnan(values)))
    return pairs


def virtual_weights(
    model: ReplacementModel, source: Int[np.ndarray, "pairs 2"], target: Int[np.ndarray, "pairs 2"]
) -> Float[np.ndarray, " pairs"]:
    """Return V of pairs of (layer, feature)."""
    weights = np.zeros(len(source))
    between = np.stack([source[:, 0], target[:, 0]], axis=1)
    with torch.inference_mode():
        for low, high in np.unique(between, axis=0):
            here = np.flatnonzero((between == (low, high)).all(axis=1))
            features = [torch.from_numpy(end[here, 1]).to(model.device) for end in (source, target)]
            weights[here] = _between(model, int(low), int(high), *features).double().cpu().numpy()
    return weights


def _between(
    model: ReplacementModel, low: int, high: int, source: torch.Tensor, target: torch.Tensor
) -> Float[torch.Tensor, " pairs"]:
    reader = model.transcoders.layers[high]
    read = pull_back(
        model.transcoders.input_hook,
        model.maps[high].mlp_norm,
        reader.encoder_bias.new_ones(len(target)),
        reader.encoder[target],
    )
    return (model.written_below(low, source, high) * read).sum(dim=1)
