"""One prompt to one attribution graph."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.attribution.attribution_pass import PassInputs
from pipeline.attribution.exploration import compute_rows, explore
from pipeline.attribution.matmul_precision import check_precision, tf32_matmuls
from pipeline.attribution.options import AttributionOptions
from pipeline.attribution.row_blocks import preferred_block_pairs
from pipeline.attribution.source_vectors import source_vectors
from pipeline.attribution.targets import ResolvedTargets, TargetSpec, resolve_targets
from pipeline.errors import ConfigurationError, PromptError
from pipeline.graph import AttributionGraph, EdgeBlocks, Reconstruction, SourceIndex
from pipeline.model import FrozenModel, ReplacementModel, token_text
from pipeline.seconds import Seconds


@torch.inference_mode()
def attribute(
    model: ReplacementModel,
    prompt: str | Sequence[int] | Tensor,
    targets: TargetSpec = None,
    options: AttributionOptions = AttributionOptions(),  # noqa: B008 - frozen
    *,
    block_pairs: int | None = None,
) -> AttributionGraph:
    """Trace one prompt: the direct effects between its features, errors, tokens and targets.

    Args:
        model: the model with its transcoders.
        prompt: text or token ids; the model's `opening` is put in front where there is no special token.
        targets: targets to explain: token ids, token strings, differences of two logits, directions
            `(label, weight, vector)`, `FeatureTarget`s; by default the most likely next tokens.
        options: choice of features that get a row, and precision; see `AttributionOptions`.
        block_pairs: about how many (row, position) pairs are computed together; lower it to save memory.
            By default what is fastest on the device.

    Raises:
        PromptError: the prompt cannot be traced.
        TargetError: a target does not exist in this model.
        ConfigurationError: the device does not have the precision, or `block_pairs` is below 1.

    """
    block_pairs = checked_block_pairs(model, options, block_pairs)
    started = time.perf_counter()
    input_tokens = model.ensure_tokenized(prompt)
    input_tokens = input_tokens[: checked_position(len(input_tokens), options.position) + 1]
    frozen = model.freeze(input_tokens)
    resolved = resolve_targets(model, frozen, targets, options.max_targets, options.target_probability)
    inputs = pass_inputs(frozen, resolved, options)
    synchronize(model)
    ready = time.perf_counter()
    with tf32_matmuls(options.precision == "tf32"):
        edges, expanded = explore(
            inputs.sources,
            resolved.weights,
            options,
            lambda wanted: compute_rows(inputs, wanted, options, block_pairs),
        )
    synchronize(model)
    seconds = Seconds(model=ready - started, rows=time.perf_counter() - ready)
    text = prompt if isinstance(prompt, str) else None
    return graph_of(model, input_tokens, inputs, edges, expanded, seconds, text)


def checked_block_pairs(model: ReplacementModel, options: AttributionOptions, block_pairs: int | None) -> int:
    """Return the block size, by default what is fastest on the device.

    Raises:
        ConfigurationError: the device does not have the precision, or `block_pairs` is below 1.

    """
    if block_pairs is None:
        block_pairs = preferred_block_pairs(model.device)
    if block_pairs < 1:
        raise ConfigurationError(f"block_pairs is {block_pairs}; it must be at least 1.")
    check_precision(options.precision, model.device)
    return block_pairs


def graph_of(
    model: ReplacementModel,
    input_tokens: Int[Tensor, " T"],
    inputs: PassInputs,
    edges: EdgeBlocks,
    expanded: Int[Tensor, " m"],
    seconds: Seconds,
    text: str | None = None,
) -> AttributionGraph:
    """Put a graph together; its text is decoded where only ids were given."""
    frozen, targets = inputs.frozen, inputs.targets
    return AttributionGraph(
        prompt=model.tokenizer.decode(input_tokens) if text is None else text,
        input_tokens=input_tokens.cpu(),
        token_strings=tuple(token_text(model.tokenizer, token) for token in input_tokens.tolist()),
        n_layers=model.n_layers,
        active_features=inputs.sources.active_features.cpu(),
        activations=torch.cat([layer.activations.cpu() for layer in frozen.layers]),
        expanded=expanded.cpu(),
        targets=targets.targets,
        edges=edges,
        prediction=targets.prediction,
        target_values=targets.values,
        reconstruction=_reconstruction(frozen),
        seconds=seconds,
    )


def checked_position(n_positions: int, position: int) -> int:
    """Return a position of a prompt, counted from its start.

    Raises:
        PromptError: there is no such position, or it is the opening token's.

    """
    if not -n_positions < position < n_positions or position == 0:
        raise PromptError(
            f"position is {position}, but the prompt has positions 1 to {n_positions - 1} (0 is its opening "
            "token)."
        )
    return position % n_positions


def pass_inputs(frozen: FrozenModel, targets: ResolvedTargets, options: AttributionOptions) -> PassInputs:
    """Build the inputs of the passes over one prompt."""
    sources = SourceIndex(frozen.active_features(), len(frozen.layers), frozen.n_positions)
    return PassInputs(
        frozen=frozen,
        vectors=source_vectors(frozen, sources),
        sources=sources,
        targets=targets,
        matmul_dtype=torch.bfloat16 if options.precision == "bfloat16" else None,
    )


def _reconstruction(frozen: FrozenModel) -> Reconstruction:
    return Reconstruction(
        output_norms=torch.stack([layer.output_norms.cpu() for layer in frozen.layers]),
        error_norms=torch.stack([layer.error.float().norm(dim=1).cpu() for layer in frozen.layers]),
        cosines=torch.stack([layer.cosines.cpu() for layer in frozen.layers]),
        zero_positions=frozen.zero_positions,
    )


def synchronize(model: ReplacementModel) -> None:
    """Wait for the devices, so that phases are timed by the work they did."""
    for device in model.devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
