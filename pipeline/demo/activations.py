"""What the MLPs of the built-in model read and write, and the model with dictionaries in their place.

Replacing all MLPs means what attribution means by it: position 0 keeps the model's own MLP output, all
other positions get the transcoder's reconstruction, layer upon layer, without error vectors.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import Module
from transformers import LlamaForCausalLM

from pipeline.demo.dictionary import Dictionary
from pipeline.demo.language import Batch

CHUNK = 1024
"""Prompts of one forward pass."""

MlpHook = Callable[[Module, tuple[Tensor, ...], Tensor], Tensor | None]
"""Called with an MLP, its inputs and its output; what it returns takes the output's place."""


@dataclass(frozen=True)
class LayerActivations:
    """What one layer's MLP read and wrote, one row a token, `<bos>` and padding left out."""

    inputs: Float[Tensor, "rows d_model"]
    """Output of the norm before the MLP."""

    outputs: Float[Tensor, "rows d_model"]
    """Output of the MLP."""


def mlp_activations(model: LlamaForCausalLM, batch: Batch, last_only: bool = False) -> list[LayerActivations]:
    """Record what every MLP reads and writes on the prompts' tokens, or on the last of each prompt only."""
    inputs: list[list[Tensor]] = [[] for _ in model.model.layers]
    outputs: list[list[Tensor]] = [[] for _ in model.model.layers]
    for rows in torch.arange(len(batch)).split(CHUNK):
        part = batch.select(rows)
        used = _used_positions(part, last_only)

        def hook_of(layer: int, used: Bool[Tensor, "prompts positions"] = used) -> MlpHook:
            def hook(_: Module, read: tuple[Tensor, ...], written: Tensor) -> None:
                inputs[layer].append(read[0][used])
                outputs[layer].append(written[used])

            return hook

        with _mlp_hooks(model, [hook_of(layer) for layer in range(len(inputs))]), torch.no_grad():
            model.model(input_ids=part.tokens)
    return [LayerActivations(torch.cat(x), torch.cat(y)) for x, y in zip(inputs, outputs, strict=True)]


def _used_positions(batch: Batch, last_only: bool) -> Bool[Tensor, "prompts positions"]:
    positions, last = torch.arange(batch.tokens.shape[1])[None, :], batch.last[:, None]
    return positions == last if last_only else (positions > 0) & (positions <= last)


@contextmanager
def mlps_replaced(model: LlamaForCausalLM, dictionaries: Sequence[Dictionary]) -> Iterator[None]:
    """Let the dictionaries stand in for all MLPs, `<bos>` left out, while the context lasts."""

    def hook_of(dictionary: Dictionary) -> MlpHook:
        def hook(_: Module, read: tuple[Tensor, ...], written: Tensor) -> Tensor:
            return torch.cat([written[:, :1], dictionary(read[0][:, 1:])], dim=1)

        return hook

    with _mlp_hooks(model, [hook_of(dictionary) for dictionary in dictionaries]):
        yield


@contextmanager
def _mlp_hooks(model: LlamaForCausalLM, hooks: Sequence[MlpHook]) -> Iterator[None]:
    layers = model.model.layers
    handles = [layer.mlp.register_forward_hook(hook) for layer, hook in zip(layers, hooks, strict=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
