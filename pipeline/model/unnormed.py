"""Modules that read the residual stream without a norm, put behind one that changes nothing.

OLMo 2 norms what attention and MLP write and not what they read. Everything here (recording, freezing,
interventions) finds what a module reads at the norm in front of it; so such a module gets one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.architectures import Architecture


class NoNorm(nn.Module):
    """A norm that returns its input."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the input."""
        return hidden_states


class Behind(nn.Module):
    """A module behind such a norm; called as the module is."""

    def __init__(self, module: nn.Module, width: int) -> None:
        super().__init__()
        parameter = next(module.parameters())
        self.norm = NoNorm(torch.ones(width, device=parameter.device, dtype=parameter.dtype))
        self.module = module

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self.module(self.norm(hidden_states), *args, **kwargs)


def add_missing_norms(model: nn.Module, architecture: Architecture) -> None:
    """Put each layer's attention and MLP behind a norm that changes nothing, where they have none."""
    if not architecture.reads_unnormed:
        return
    for layer in model.get_submodule(architecture.layers):
        for path in (architecture.attention, architecture.mlp):
            name = path.removesuffix(".module")
            if not isinstance(getattr(layer, name), Behind):
                setattr(layer, name, Behind(getattr(layer, name), model.config.hidden_size))
