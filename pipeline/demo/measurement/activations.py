"""What the MLPs of the built-in model read and write on its prompts."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import LlamaForCausalLM

from pipeline.demo.corpus import Batch
from pipeline.model import architecture_of, record

CHUNK = 1024
"""Prompts of one forward pass."""


@dataclass(frozen=True)
class LayerActivations:
    """Inputs and outputs of one layer's MLP, one row a token, `<bos>` and padding left out."""

    inputs: Float[Tensor, "rows d_model"]
    """Output of the norm before the MLP."""

    outputs: Float[Tensor, "rows d_model"]
    """Output of the MLP."""


@torch.no_grad()
def mlp_activations(model: LlamaForCausalLM, batch: Batch, last_only: bool = False) -> list[LayerActivations]:
    """Record what every MLP reads and writes on the prompts' tokens, or on the last of each prompt only."""
    layers = range(model.config.num_hidden_layers)
    inputs: list[list[Tensor]] = [[] for _ in layers]
    outputs: list[list[Tensor]] = [[] for _ in layers]
    architecture = architecture_of(model.config)
    with record(model, architecture, ["mlp_norm.output", "mlp.output"]) as recorded:
        for rows in torch.arange(len(batch)).split(CHUNK):
            part = batch.select(rows)
            used = _used_positions(part, last_only)
            model.base_model(input_ids=part.tokens)
            for layer in layers:
                inputs[layer].append(recorded["mlp_norm.output", layer][used])
                outputs[layer].append(recorded["mlp.output", layer][used])
    return [LayerActivations(torch.cat(x), torch.cat(y)) for x, y in zip(inputs, outputs, strict=True)]


def _used_positions(batch: Batch, last_only: bool) -> Bool[Tensor, "prompts positions"]:
    positions, last = torch.arange(batch.tokens.shape[1])[None, :], batch.last[:, None]
    return positions == last if last_only else (positions > 0) & (positions <= last)
