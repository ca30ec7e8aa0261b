"""One prompt to one attribution graph."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.attribution.exploration import explore
from pipeline.attribution.rows import Descent
from pipeline.attribution.source_vectors import source_vectors
from pipeline.attribution.targets import TargetSpec, resolve_targets
from pipeline.errors import ConfigurationError
from pipeline.graph import AttributionGraph, Sources
from pipeline.model import ReplacementModel

BLOCK_PAIRS = 4096
"""(row, position) pairs carried down together: 8 MB of gradients at width 512, which a cache can hold."""


@torch.inference_mode()
def attribute(
    model: ReplacementModel,
    prompt: str | Sequence[int] | Tensor,
    targets: TargetSpec = None,
    *,
    max_targets: int = 10,
    target_probability: float = 0.95,
    max_feature_nodes: int | None = None,
    batch_size: int = 512,
    update_interval: int = 4,
    block_pairs: int = BLOCK_PAIRS,
) -> AttributionGraph:
    """Trace one prompt: the direct effects between its features, errors, tokens and targets.

    Args:
        model: the model with its transcoders.
        prompt: text or token ids; a special token is put in front where there is none.
        targets: what to explain: token ids, token strings, directions `(label, weight, vector)`; by
            default the most likely next tokens.
        max_targets: most tokens taken by default.
        target_probability: tokens are taken until their probability reaches this share.
        max_feature_nodes: expand only the most influential features, chosen by circuit-tracer's
            rule; by default every active feature.
        batch_size: with `update_interval`, how many features that rule chooses at a time.
        update_interval: see `batch_size`.
        block_pairs: most (row, position) pairs computed together; lower it to save memory.

    Raises:
        PromptError: the prompt cannot be traced.
        TargetError: the targets are not the model's.
        ConfigurationError: an option is out of range.

    """
    _check_options(max_feature_nodes, batch_size, update_interval, block_pairs)
    started = time.perf_counter()
    input_tokens = model.ensure_tokenized(prompt)
    frozen = model.freeze(input_tokens)
    resolved = resolve_targets(model, frozen.logits, targets, max_targets, target_probability)
    sources = Sources(frozen.active_features(), model.n_layers, len(input_tokens))
    descent = Descent(
        frozen=frozen,
        vectors=source_vectors(frozen, sources),
        sources=sources,
        target_rows=frozen.final_norm.transpose(resolved.vectors) * frozen.final_scale[-1],
    )
    _synchronize(model.device)
    ready = time.perf_counter()
    weights = torch.tensor([target.probability for target in resolved.targets], device=model.device)
    edges, expanded = explore(descent, weights, max_feature_nodes, batch_size, update_interval, block_pairs)
    _synchronize(model.device)
    done = time.perf_counter()
    return AttributionGraph(
        prompt=prompt if isinstance(prompt, str) else model.tokenizer.decode(input_tokens),
        input_tokens=input_tokens.cpu(),
        token_strings=tuple(model.tokenizer.decode([token]) for token in input_tokens.tolist()),
        n_layers=model.n_layers,
        active_features=sources.active_features.cpu(),
        activations=torch.cat([layer.activations for layer in frozen.layers]).cpu(),
        expanded=expanded.cpu(),
        targets=resolved.targets,
        edges=edges,
        seconds={"model": ready - started, "rows": done - ready},
    )


def _check_options(
    max_feature_nodes: int | None, batch_size: int, update_interval: int, block_pairs: int
) -> None:
    options = {"batch_size": batch_size, "update_interval": update_interval, "block_pairs": block_pairs}
    if max_feature_nodes is not None:
        options["max_feature_nodes"] = max_feature_nodes
    for name, value in options.items():
        if value < 1:
            raise ConfigurationError(f"{name} is {value}; it must be at least 1.")


def _synchronize(device: torch.device) -> None:
    """Wait for the device, so that phases are timed by the work they did."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
