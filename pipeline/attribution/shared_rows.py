"""Many positions of one text, explained one after the other over the same feature rows.

A feature's row does not depend on what is explained, and with causal attention nothing flows back: the
graph at a position is that of the text cut there. So the text is frozen once, each feature's row is computed
once, when the first position asks for it, and a position adds its targets' rows only. A graph shares the
memory of the rows that end before its own position; the few that lie beside others in a block are copied.

Legend: T positions of the text, n active features, R rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.attribution.attribution_pass import PassInputs
from pipeline.attribution.exploration import compute_rows, explore
from pipeline.attribution.matmul_precision import tf32_matmuls
from pipeline.attribution.options import AttributionOptions
from pipeline.attribution.prompt_to_graph import (
    checked_block_pairs,
    checked_position,
    graph_of,
    pass_inputs,
    synchronize,
)
from pipeline.attribution.source_vectors import LayerVectors
from pipeline.attribution.targets import TargetSpec, resolve_targets
from pipeline.graph import AttributionGraph, EdgeBlock, EdgeBlocks, SourceIndex
from pipeline.model import ReplacementModel
from pipeline.seconds import Seconds

LOGITS_AT_ONCE = 64
"""Positions whose logits are computed together: 64 MB at a vocabulary of 256,000."""


def attribute_positions(
    model: ReplacementModel,
    prompt: str | Sequence[int] | Tensor,
    positions: Sequence[int],
    targets: TargetSpec = None,
    options: AttributionOptions = AttributionOptions(),  # noqa: B008 - frozen
    *,
    block_pairs: int | None = None,
) -> Iterator[AttributionGraph]:
    """Trace several positions of one text; each graph is that of the text cut there.

    Args:
        model: the model with its transcoders.
        prompt: text or token ids, as for `attribute`.
        positions: positions to explain what the model says after, the opening special token being 0;
            negative ones count from the end.
        targets: targets to explain at each of them; by default its most likely next tokens.
        options: as for `attribute`, but that `position` is not used.
        block_pairs: as for `attribute`.

    Raises:
        PromptError: the prompt cannot be traced, or has no such position.
        TargetError: a target does not exist in this model.
        ConfigurationError: the device does not have the precision, or `block_pairs` is below 1.

    """
    text = SharedRows(model, prompt, options, block_pairs=block_pairs)
    for position in positions:
        yield text.attribute(position, targets)


class SharedRows:
    """A text with the feature rows that its positions share."""

    @torch.inference_mode()
    def __init__(
        self,
        model: ReplacementModel,
        prompt: str | Sequence[int] | Tensor,
        options: AttributionOptions = AttributionOptions(),  # noqa: B008 - frozen
        *,
        block_pairs: int | None = None,
    ) -> None:
        """Freeze the text; rows are computed when a position asks for them.

        Raises:
            PromptError: the prompt cannot be traced.
            ConfigurationError: the device does not have the precision, or `block_pairs` is below 1.

        """
        self._block_pairs = checked_block_pairs(model, options, block_pairs)
        started = time.perf_counter()
        self.model, self.options = model, options
        self.input_tokens = model.ensure_tokenized(prompt)
        self._frozen = model.freeze(self.input_tokens)
        # Passes over features ask for no target's row, but number them.
        own = resolve_targets(model, self._frozen, None, options.max_targets, options.target_probability)
        self._inputs = pass_inputs(self._frozen, own, options)
        self._blocks: list[EdgeBlock] = []
        n_active = len(self._inputs.sources.active_features)
        self._known = torch.zeros(n_active, dtype=torch.bool, device=model.device)
        self._logits: tuple[int, Float[Tensor, "t V"]] | None = None
        synchronize(model)
        # The first graph carries what all share.
        self._not_counted = Seconds(model=time.perf_counter() - started)

    @torch.inference_mode()
    def attribute(self, position: int, targets: TargetSpec = None) -> AttributionGraph:
        """Trace one position.

        Raises:
            PromptError: the text has no such position, or a logit there is not a number.
            TargetError: a target does not exist in this model.

        """
        started = time.perf_counter()
        position = checked_position(len(self.input_tokens), position)
        model, options = self.model, self.options
        cut = _Cut.of(self._inputs.sources, position)
        frozen = self._frozen.up_to(position, self._logits_at(position))
        resolved = resolve_targets(model, frozen, targets, options.max_targets, options.target_probability)
        inputs = replace(
            self._inputs,
            frozen=frozen,
            vectors=tuple(_up_to(vectors, cut.sources, i) for i, vectors in enumerate(self._inputs.vectors)),
            sources=cut.sources,
            targets=resolved,
        )
        synchronize(model)
        ready = time.perf_counter()
        with tf32_matmuls(options.precision == "tf32"):
            edges, expanded = explore(
                cut.sources, resolved.weights, options, lambda wanted: self._rows(cut, inputs, wanted)
            )
        synchronize(model)
        seconds = self._not_counted + Seconds(model=ready - started, rows=time.perf_counter() - ready)
        self._not_counted = Seconds()
        return graph_of(model, self.input_tokens[: position + 1], inputs, edges, expanded, seconds)

    def _logits_at(self, position: int) -> Float[Tensor, " V"]:
        last = len(self.input_tokens) - 1
        if position == last:
            return self._frozen.logits
        first = position - position % LOGITS_AT_ONCE
        if self._logits is None or self._logits[0] != first:
            wanted = torch.arange(first, min(first + LOGITS_AT_ONCE, last), device=self.model.device)
            tokens = self.input_tokens[None]
            found = self.model.model(input_ids=tokens, use_cache=False, logits_to_keep=wanted).logits[0]
            self._logits = first, found
        return self._logits[1][position - first]

    def _rows(self, cut: _Cut, inputs: PassInputs, wanted: Int[Tensor, " R"]) -> EdgeBlocks:
        """Return rows of the graph at a position: the text's own features', and its targets'."""
        n_active = len(cut.features)
        features, targets = wanted[wanted < n_active], wanted[wanted >= n_active]
        of_text = torch.zeros_like(self._known)
        of_text[cut.features[features]] = True
        self._compute(of_text)
        blocks = [cut.block(block, of_text) for block in self._blocks]
        found = EdgeBlocks(
            cut.sources, len(inputs.targets.targets), tuple(block for block in blocks if block is not None)
        )
        if len(targets):
            found = found + compute_rows(inputs, targets, self.options, self._block_pairs)
        return found

    def _compute(self, wanted: Bool[Tensor, " n"]) -> None:
        """Compute those of the text's rows that are wanted and not there."""
        missing = wanted & ~self._known
        if not missing.any():
            return
        if self.options.expands_all(len(self._known)):
            missing = ~self._known  # in few large blocks: later positions want the rest
        rows = missing.nonzero()[:, 0]
        self._blocks += compute_rows(self._inputs, rows, self.options, self._block_pairs).blocks
        self._known |= missing


@dataclass(frozen=True)
class _Cut:
    """The part of a text's numbering that ends at a position."""

    sources: SourceIndex
    features: Int[Tensor, " m"]
    """The text's number of each active feature."""

    of_source: Int[Tensor, " sources"]
    """Number of each source of the text; -1 for later ones."""

    of_row: Int[Tensor, " n"]
    """Number of each feature of the text; -1 for later ones."""

    @classmethod
    def of(cls, text: SourceIndex, position: int) -> _Cut:
        features = (text.active_features[:, 1] <= position).nonzero()[:, 0]
        sources = SourceIndex(text.active_features[features], text.n_layers, position + 1)
        errors = text.errors.view(text.n_layers, -1)[:, : position + 1].flatten()
        of_source = torch.full((text.count,), -1, device=features.device)
        of_source[text.features[features]] = sources.features
        of_source[errors] = sources.errors
        of_source[text.tokens[: position + 1]] = sources.tokens
        of_row = torch.full((len(text.active_features),), -1, device=features.device)
        of_row[features] = torch.arange(len(features), device=features.device)
        return cls(sources, features, of_source, of_row)

    def block(self, block: EdgeBlock, wanted: Bool[Tensor, " n"]) -> EdgeBlock | None:
        """Return the wanted rows of a block, without later sources; None where there are none."""
        rows = wanted[block.rows]
        if not rows.any():
            return None
        sources = self.of_source[block.sources]
        # A block's sources ascend by position, so those that are kept come first.
        count = int((sources >= 0).sum())

        def columns(values: Tensor | None) -> Tensor | None:
            return values if values is None or rows.all() else values[..., rows]

        return EdgeBlock(
            block.layer,
            sources[:count],
            self.of_row[block.rows[rows]],
            columns(block.weights[:count]),
            columns(block.dropped),
            columns(block.dropped_sum),
        )


def _up_to(vectors: LayerVectors, sources: SourceIndex, layer: int) -> LayerVectors:
    """Return the vectors of a layer's sources that are in a cut numbering."""
    T = sources.n_positions
    count = vectors.cells[T]
    return LayerVectors(
        int(sources.cell_starts[layer * T]),
        vectors.cells[: T + 1],
        vectors.own[:count],
        tuple(written[:count] for written in vectors.above),
    )
