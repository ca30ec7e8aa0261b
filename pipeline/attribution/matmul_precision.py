"""The precision of the matrix products that make rows.

Rows are float32 by default: independent float32 engines agree to 1e-5 of the largest edge. TF32 rounds
the factors to 10 bits on the way into a GPU's matrix units, bfloat16 to 7; sums stay in float32 there.
How far that moves edges and pruned graphs is measured by `circuit-sweep bench --precision`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pipeline.attribution.options import Precision
from pipeline.errors import ConfigurationError


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that a device does not have.

    Raises:
        ConfigurationError: naming the precision and what to use instead.

    """
    if precision == "tf32" and device.type != "cuda":
        raise ConfigurationError("precision is 'tf32', which only CUDA devices have: use 'float32' here.")


@contextmanager
def tf32_matmuls(enabled: bool) -> Iterator[None]:
    """Let float32 products on CUDA round their factors to TF32 while inside."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if enabled else "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def add_matmul(out: Tensor, left: Tensor, right: Tensor, beta: float, dtype: torch.dtype | None) -> None:
    """Set `out` to `beta * out + left @ right`, batched or not; `beta` 0 ignores what `out` held.

    Args:
        out: tensor to add to, in the precision of the rows.
        left: first factor.
        right: second factor.
        beta: factor of the old value, 0 or 1.
        dtype: precision of the factors; None for their own.

    """
    if dtype is None:
        (out.addmm_ if out.ndim == 2 else out.baddbmm_)(left, right, beta=beta)
        return
    product = left.to(dtype) @ right.to(dtype)
    if beta == 0:
        out.copy_(product)
    else:
        out.add_(product)
