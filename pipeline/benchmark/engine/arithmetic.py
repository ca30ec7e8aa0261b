"""Least arithmetic that a graph needs, and this machine's rate at such arithmetic.

A row costs, for each position up to its own and each attention that it crosses, `2 d H h` for the
output matrix and `2 d K h` for the value matrix, and `2 d` for each source. A feature crosses its own
layer's attention, which writes to what it reads, and all below; a logit crosses all. Patterns and scales
are left out, so the share of the machine's rate that a pass reaches is an understatement.

Legend: R rows, L layers, T positions, d model width, H heads, K key/value heads, h head width.
"""

from __future__ import annotations

import time

import torch

from pipeline.attribution import Precision, tf32_matmuls
from pipeline.graph import AttributionGraph
from pipeline.model import ReplacementModel

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
"""Side of the square products that measure the machine's rate."""


def row_operations(model: ReplacementModel, graph: AttributionGraph) -> int:
    """Count the floating-point operations that computing the graph's rows takes at least."""
    L, T = graph.n_layers, graph.n_positions
    rows = torch.cat(
        (graph.active_features[graph.expanded, :2], torch.tensor([[L, T - 1]]).expand(len(graph.targets), 2))
    )
    widths = [maps.attention.output.shape[1] + maps.attention.value.shape[0] for maps in model.maps]
    per_position = 2 * model.d_model * torch.tensor([0, *widths]).cumsum(0)
    own = 0 if model.architecture.parallel else 1
    crossed = (rows[:, 0] + own).clamp(max=L)
    carried = (per_position[crossed] * (rows[:, 1] + 1)).sum().item()
    return carried + _visible_sources(graph, rows) * 2 * model.d_model


def _visible_sources(graph: AttributionGraph, rows: torch.Tensor) -> int:
    """Count the pairs of a row and a source below it and not after it."""
    L, T = graph.n_layers, graph.n_positions
    cells = graph.active_features[:, 0] * T + graph.active_features[:, 1]
    per_cell = torch.bincount(cells, minlength=L * T).view(L, T) + 1  # features and the error
    below = torch.zeros(L + 1, T + 1, dtype=torch.long)
    below[1:, 1:] = per_cell.cumsum(0).cumsum(1)
    tokens = rows[:, 1] + 1
    return int((below[rows[:, 0], rows[:, 1] + 1] + tokens).sum())


def matrix_product_rate(device: torch.device, precision: Precision = "float32", repeats: int = 10) -> float:
    """Measure the best rate, in operations a second, of a large square matrix product."""
    with tf32_matmuls(precision == "tf32"):
        return _rate(device, torch.bfloat16 if precision == "bfloat16" else torch.float32, repeats)


def _rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    size = MATRIX_SIZE[device.type]
    left = torch.randn(size, size, device=device, dtype=dtype)
    right = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        left @ right
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
