"""Number of rows that fit one forward pass.

Counted is what lives at once for a row: the residual stream with its norms and changes, the MLP's
hidden layer, one layer's patterns, and the logits of the last position. The largest layer counts, not
the sum, since nothing is kept for a backward pass. The estimate is meant to be high; what it misses
is caught by halving (see `batch`).
"""

from __future__ import annotations

import torch

from pipeline.intervention.base_run import BaseRun

SHARE = 0.5
"""Share of the free memory of a device that a pass may fill."""

CPU_BYTES = 256 * 2**20
"""Memory that a pass may fill where there is no device to ask."""

MOST_POSITIONS = {"cpu": 512, "cuda": 16384}
"""Positions, over all rows, beyond which a larger pass is no faster: the products are large enough, and
a smaller pass can leave out more of what does not change."""


def plan_rows(base: BaseRun) -> int:
    """Return the rows to run together."""
    device = base.model.device
    budget, most = CPU_BYTES, MOST_POSITIONS["cpu"]
    if device.type == "cuda":
        budget, most = SHARE * torch.cuda.mem_get_info(device)[0], MOST_POSITIONS["cuda"]
    return max(1, min(int(budget / row_bytes(base)), most // base.n_positions))


def row_bytes(base: BaseRun) -> int:
    """Estimate the peak bytes of one row."""
    config = base.model.model.config
    T, d, H = base.n_positions, base.model.d_model, config.num_attention_heads
    hidden = getattr(config, "intermediate_size", None) or 4 * d
    floats = T * (16 * d + 3 * hidden + 3 * H * T) + 3 * base.model.vocabulary_size
    return floats * base.logits.element_size()
