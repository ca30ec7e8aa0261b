"""One forward pass of a Hugging Face model, with what the frozen model needs recorded on the way.

Hooks on the family's named modules keep attention patterns, the inputs of the norms, and what the
MLPs read and wrote; nothing of the model's code is replaced or copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.model.families import Family


@dataclass
class Recording:
    """What one forward pass showed; lists have one entry a layer. T positions, d width, H heads."""

    tokens: Float[Tensor, "T d"] | None = None
    """Token embeddings as they enter the residual stream."""

    patterns: list[Float[Tensor, "H T T"]] = field(default_factory=list)
    """Attention patterns, query by key."""

    attention_inputs: list[Float[Tensor, "T d"]] = field(default_factory=list)
    """Inputs of the norm that the attention reads through."""

    attention_outputs: list[Float[Tensor, "T d"]] = field(default_factory=list)
    """Attention outputs before the norm that follows them, where one does."""

    mlp_norm_inputs: list[Float[Tensor, "T d"]] = field(default_factory=list)
    """Inputs of the norm that the MLP reads through."""

    mlp_norm_outputs: list[Float[Tensor, "T d"]] = field(default_factory=list)
    """Outputs of that norm."""

    mlp_outputs: list[Float[Tensor, "T d"]] = field(default_factory=list)
    """What the MLP adds to the residual stream."""

    final_input: Float[Tensor, "T d"] | None = None
    """Input of the final norm."""

    logits: Float[Tensor, " V"] | None = None
    """Logits of the last position, soft-capped where the model does so."""


def record(model: nn.Module, family: Family, tokens: Int[Tensor, " T"]) -> Recording:
    """Run the model on one prompt and return what the frozen model is made of."""
    recording = Recording()
    with torch.inference_mode(), _hooked(model, family, recording):
        output = model(input_ids=tokens[None], use_cache=False, logits_to_keep=1)
    recording.logits = output.logits[0, -1]
    return recording


@contextmanager
def _hooked(model: nn.Module, family: Family, recording: Recording) -> Iterator[None]:
    handles = []

    def on_output(module: nn.Module, keep: Callable[[Any], None]) -> None:
        handles.append(module.register_forward_hook(lambda _module, _args, output: keep(output)))

    def on_input(module: nn.Module, keep: Callable[[Any], None]) -> None:
        hook = lambda _module, args, kwargs: keep(args[0] if args else kwargs["hidden_states"])  # noqa: E731
        handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def append(entries: list[Tensor]) -> Callable[[Any], None]:
        return lambda value: entries.append(_first(value)[0])

    on_output(model.get_submodule(family.embedding), lambda value: setattr(recording, "tokens", value[0]))
    on_input(
        model.get_submodule(family.final_norm), lambda value: setattr(recording, "final_input", value[0])
    )
    for layer in model.get_submodule(family.layers):
        attention = layer.get_submodule(family.attention)
        mlp_norm = layer.get_submodule(family.mlp_norm)
        on_input(layer.get_submodule(family.attention_norm), append(recording.attention_inputs))
        on_output(attention, lambda value: recording.patterns.append(value[1][0]))
        if family.attention_output_norm:
            on_output(attention, append(recording.attention_outputs))
        on_input(mlp_norm, append(recording.mlp_norm_inputs))
        on_output(mlp_norm, append(recording.mlp_norm_outputs))
        on_output(layer.get_submodule(family.mlp_output_norm or family.mlp), append(recording.mlp_outputs))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value
