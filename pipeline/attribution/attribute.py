"""One prompt to one attribution graph."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.attribution.exploration import Exploration, explore
from pipeline.attribution.products import Precision, check_precision, tf32_products
from pipeline.attribution.row_blocks import preferred_block_pairs
from pipeline.attribution.rows import Descent
from pipeline.attribution.source_vectors import source_vectors
from pipeline.attribution.targets import ResolvedTargets, TargetSpec, resolve_targets
from pipeline.errors import PromptError
from pipeline.graph import AttributionGraph, SourceIndex
from pipeline.model import FrozenModel, ReplacementModel


@torch.inference_mode()
def attribute(
    model: ReplacementModel,
    prompt: str | Sequence[int] | Tensor,
    targets: TargetSpec = None,
    *,
    position: int = -1,
    max_targets: int = 10,
    target_probability: float = 0.95,
    max_feature_nodes: int | None = None,
    tolerance: float | None = None,
    batch_size: int = 512,
    update_interval: int = 4,
    block_pairs: int | None = None,
    edges_per_row: int | None = None,
    precision: Precision = "float32",
) -> AttributionGraph:
    """Trace one prompt: the direct effects between its features, errors, tokens and targets.

    Args:
        model: the model with its transcoders.
        prompt: text or token ids; a special token is put in front where there is none.
        targets: what to explain: token ids, token strings, directions `(label, weight, vector)` such as
            a logit difference, `FeatureTarget`s; by default the most likely next tokens.
        position: trace what the model says after this position, the opening special token counted as
            0; later tokens are cut off, since nothing flows back from them. By default the last.
        max_targets: most tokens taken by default.
        target_probability: tokens are taken until their probability reaches this share.
        max_feature_nodes: expand only the most influential features, chosen by circuit-tracer's
            rule; by default every active feature.
        tolerance: expand the most influential features until the others hold less than this share
            of influence; by default every active feature.
        batch_size: with `update_interval`, how many features a cap's rule chooses at a time.
        update_interval: see `batch_size`.
        block_pairs: about how many (row, position) pairs are computed together; lower it to save memory.
            By default what is fastest on the device.
        edges_per_row: keep errors, tokens and at least this many of each row's strongest feature
            edges; by default all edges. For prompts of thousands of tokens.
        precision: of the products that make rows; see `pipeline.attribution.products`.

    Raises:
        PromptError: the prompt cannot be traced.
        TargetError: the targets are not the model's.
        ConfigurationError: an option is out of range.

    """
    pairs = preferred_block_pairs(model.device) if block_pairs is None else block_pairs
    rule = Exploration(max_feature_nodes, tolerance, batch_size, update_interval, pairs, edges_per_row)
    check_precision(precision, model.device)
    started = time.perf_counter()
    input_tokens = _up_to(model.ensure_tokenized(prompt), position)
    frozen = model.freeze(input_tokens)
    resolved = resolve_targets(model, frozen, targets, max_targets, target_probability)
    descent = _descent(frozen, resolved, precision)
    _synchronize(model)
    ready = time.perf_counter()
    weights = torch.tensor([target.probability for target in resolved.targets], device=model.device)
    with tf32_products(precision == "tf32"):
        edges, expanded = explore(descent, weights, rule)
    _synchronize(model)
    done = time.perf_counter()
    return AttributionGraph(
        prompt=prompt if isinstance(prompt, str) else model.tokenizer.decode(input_tokens),
        input_tokens=input_tokens.cpu(),
        token_strings=tuple(model.tokenizer.decode([token]) for token in input_tokens.tolist()),
        n_layers=model.n_layers,
        active_features=descent.sources.active_features.cpu(),
        activations=torch.cat([layer.activations.cpu() for layer in frozen.layers]),
        expanded=expanded.cpu(),
        targets=resolved.targets,
        edges=edges,
        seconds={"model": ready - started, "rows": done - ready},
    )


def _up_to(tokens: Int[Tensor, " T"], position: int) -> Int[Tensor, " t"]:
    T = len(tokens)
    if not -T < position < T or position == 0:
        raise PromptError(
            f"position is {position}, but the prompt has positions 1 to {T - 1} (0 is its opening token)."
        )
    return tokens[: position % T + 1]


def _descent(frozen: FrozenModel, targets: ResolvedTargets, precision: Precision) -> Descent:
    sources = SourceIndex(frozen.active_features(), len(frozen.layers), frozen.n_positions)
    return Descent(
        frozen=frozen,
        vectors=source_vectors(frozen, sources),
        sources=sources,
        targets=targets,
        products=torch.bfloat16 if precision == "bfloat16" else None,
    )


def _synchronize(model: ReplacementModel) -> None:
    """Wait for the devices, so that phases are timed by the work they did."""
    for device in model.devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
