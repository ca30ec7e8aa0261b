"""Simpler rankings of a graph's features, which influence must beat to have earned its cost.

- write norm: |activation| times the norm of what the feature writes.
- late write norm: the same divided by 1 + the distance to the last position, where the output is read.
- direct edge: the edges to the targets alone, without any path over other features.
- gradient: activation times the gradient of what is explained, in the model itself with nothing frozen: one
  backward pass a target, no dictionary needed but to name the direction (attribution patching).
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.intervention import BaseRun
from pipeline.model import LAST, hooked_output, read_inputs, record
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.effects import OutputMetrics

SIMPLE_RANKINGS = ("write_norm", "late_write_norm", "direct_edge", "gradient")


def simple_rankings(
    base: BaseRun, metrics: OutputMetrics, circuit: Circuit
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the kept features' scores, by ranking."""
    norms = write_norms(base.model, circuit.features, circuit.activations)
    distance = base.n_positions - 1 - circuit.features[:, 1]
    by_gradient = gradient_scores(base, metrics, circuit.features, circuit.activations)
    scores = (norms, norms / (1 + distance), circuit.direct, by_gradient)
    return dict(zip(SIMPLE_RANKINGS, scores, strict=True))


def write_norms(
    model: ReplacementModel, features: Int[np.ndarray, "n 3"], activations: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return |activation| times the norm of each feature's decoder, over all layers that it writes to."""
    squares = np.zeros(len(features))
    for layer in np.unique(features[:, 0]).tolist():
        of_layer = model.transcoders.layers[layer]
        here = np.flatnonzero(features[:, 0] == layer)
        chosen = torch.from_numpy(features[here, 2])
        for write in range(of_layer.decoder.shape[1]):
            rows = of_layer.decoder_rows(chosen, write).double()
            squares[here] += rows.square().sum(1).cpu().numpy()
    return np.abs(activations) * np.sqrt(squares)


def gradient_scores(
    base: BaseRun,
    metrics: OutputMetrics,
    features: Int[np.ndarray, "n 3"],
    activations: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return the sum over targets of weight times |activation x gradient along the feature's decoder|."""
    scores = np.zeros(len(features))
    for target, gradients in zip(metrics.targets, _gradients(base, metrics), strict=True):
        scores += target.weight * np.abs(_along_decoders(base, features, gradients) * activations)
    return scores


def _gradients(base: BaseRun, metrics: OutputMetrics) -> list[list[Float[Tensor, "T d"]]]:
    """Return the gradient of each target's quantity by every MLP's output."""
    model = base.model
    added = [torch.zeros_like(layer.mlp_output[0]).requires_grad_() for layer in base.layers]
    with torch.enable_grad(), ExitStack() as stack:
        for index, layer in enumerate(model.model.get_submodule(model.architecture.layers)):
            writer = layer.get_submodule(model.architecture.mlp_output_norm or model.architecture.mlp)
            stack.enter_context(hooked_output(writer, lambda _, wrote, i=index: wrote + added[i]))
        sites = ("mlp_norm.input", "mlp_norm.output")
        recorded = stack.enter_context(record(model.model, model.architecture, sites))
        logits = model.model(input_ids=base.input_tokens, use_cache=False, logits_to_keep=LAST).logits[:, -1]
        cells = [_preactivation(base, cell, recorded) for cell in metrics.cells.tolist()]
        read = torch.stack(cells).to(logits.device)[None] if cells else logits.new_zeros(1, 0)
        explained = metrics.explained(logits, read)[0]
        return [
            [
                torch.zeros_like(part) if gradient is None else gradient
                for part, gradient in zip(
                    added,
                    torch.autograd.grad(value, added, retain_graph=True, allow_unused=True),
                    strict=True,
                )
            ]
            for value in explained
        ]


def _preactivation(base: BaseRun, cell: list[int], recorded: dict) -> Float[Tensor, ""]:
    index, position, feature = cell
    model = base.model
    layer = model.transcoders.layers[index]
    inputs = (recorded[site, index][0] for site in ("mlp_norm.input", "mlp_norm.output"))
    read = read_inputs(model.transcoders.input_hook, model.maps[index].mlp_norm, *inputs)[position]
    chosen = torch.tensor([feature], device=read.device)
    return (read * layer.encoder[chosen][0]).sum() + layer.encoder_bias[feature]


def _along_decoders(
    base: BaseRun, features: Int[np.ndarray, "n 3"], gradients: list[Float[Tensor, "T d"]]
) -> Float[np.ndarray, " n"]:
    along_decoders = np.zeros(len(features))
    for index in np.unique(features[:, 0]).tolist():
        layer = base.model.transcoders.layers[index]
        here = np.flatnonzero(features[:, 0] == index)
        positions, chosen = torch.from_numpy(features[here, 1:]).unbind(1)
        for write in range(layer.decoder.shape[1]):
            gradient = gradients[index + write]
            along = layer.decoder_rows(chosen, write).to(gradient) * gradient[positions.to(gradient.device)]
            along_decoders[here] += along.sum(1).double().cpu().numpy()
    return along_decoders
