"""The seam between a worker and the engine: one prompt in, one pruned graph with its cost out.

The engine knows nothing of sweeps; here its errors get the stage at which they happened, and its time and
memory are measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from pipeline.attribution import SharedRows, attribute, check_precision, head_loadings, qk_attribution
from pipeline.builtin import resolve
from pipeline.graph import (
    AttributionGraph,
    HeadLoadings,
    PrunedGraph,
    QKAttribution,
    Stability,
    prune,
    stability,
)
from pipeline.intervention import generate
from pipeline.model import ReplacementModel, TracedTokens, token_id
from pipeline.peak_memory import peak_bytes, reset_peak
from pipeline.planning import LEAST_BLOCK_PAIRS, BlockPlanner, ModelSizes
from pipeline.runtime import StageError
from pipeline.seconds import Seconds
from pipeline.sweep.config import AttributionConfig, PruningConfig
from pipeline.sweep.positions import GENERATED, LAST, last_position, positions_of
from pipeline.sweep.prompts import ChosenTargets, as_specification, chosen_for_all


@dataclass(frozen=True)
class EngineConfig:
    """Model, precision and rules of an engine."""

    model: str
    transcoders: str
    dtype: str = "float32"
    trust_remote_code: bool = False
    lazy_encoder: bool = False
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)
    devices: tuple[str, ...] = ()
    """Devices that the model is laid out over; by default the GPU if there is one."""

    device_share: float = 1.0
    """Share of the device that is this engine's, if several workers share a GPU."""

    listed_commits: Mapping[str, str] = field(default_factory=dict)
    """Commits at which transcoders that list files of other repositories read them."""

    zero_positions: int | None = None
    """First positions that carry no features; by default as the model's template says."""


@dataclass(frozen=True)
class Trace:
    """One traced prompt."""

    graph: AttributionGraph
    pruned: PrunedGraph
    stability: Stability
    """Shares of an ensemble of prunings that keep what `pruned` holds."""

    replacement_score: float
    """Replacement score of the whole graph."""

    completeness_score: float
    """Completeness score of the whole graph."""

    unexpanded_influence: float
    """Share of influence that rests with features that were not expanded."""

    dropped_share: float
    """Share of all absolute edges that `edges_per_row` left out."""

    constants_share: float
    """Share of the targets' input that constants carry."""

    head_loadings: HeadLoadings
    """Paths that carry the strongest edges."""

    qk: QKAttribution | None
    """Scores of the heads that carry most, if they were asked for."""

    extras: dict[str, float]
    """Wall seconds of what is beside the graph itself, by option or column; they are in `seconds` too."""

    seconds: Seconds
    """Of its phases `model`, `rows` and `pruning`."""

    peak_bytes: int
    """Most memory in use while tracing."""

    block_pairs: int
    """(row, position) pairs that went down together."""

    position: int | None = None
    """Position that is explained, where the rule may give a prompt several."""

    is_whole: bool = True
    """False for all positions of a text but the one that has the text's own key."""

    generated: str | None = None
    """Text with which the model went on, where that is traced."""

    generated_index: int | None = None
    """Index of the token in it that is explained."""


class Engine:
    """A model with its transcoders, tracing prompt after prompt.

    Raises:
        ModelError: the model cannot be loaded, or its architecture is not supported.
        TranscoderError: the transcoders cannot be read, or do not fit the model.

    """

    def __init__(self, config: EngineConfig, model: ReplacementModel | None = None) -> None:
        """Load the model, unless it is there already."""
        self.config = config
        self.model = model or ReplacementModel.from_pretrained(
            resolve(config.model, "model"),
            transcoders=resolve(config.transcoders, "transcoders"),
            device=config.devices,
            dtype=getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
            lazy_encoder=config.lazy_encoder,
            listed_commits=config.listed_commits,
            zero_positions=config.zero_positions,
        )
        check_precision(config.attribution.precision, self.model.device)
        self.planner = BlockPlanner(
            ModelSizes.of(self.model), config.attribution, self.model.device, config.device_share
        )
        stop = config.attribution.generation.stop
        self.stop = (
            () if stop is None else (token_id(self.model.tokenizer, stop, self.model.vocabulary_size),)
        )
        self.targets = chosen_for_all(
            config.attribution.targets, self.model.tokenizer, self.model.vocabulary_size
        )

    def trace(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Trace:
        """Trace and prune one prompt, explaining its own targets or else those of all prompts.

        Raises:
            StageError: whatever went wrong, with its stage.

        """
        reset_peak(*self.model.devices)
        graph, block_pairs = self._attribute(token_ids, targets or self.targets)
        return self._finished(graph, block_pairs, targets or self.targets)

    def traces(self, token_ids: Sequence[int], targets: ChosenTargets | None = None) -> Iterator[Trace]:
        """Trace the positions of a prompt that the configuration names, ascending.

        Raises:
            StageError: whatever went wrong, with its stage.

        """
        rule = self.config.attribution.positions
        if rule == LAST:
            yield self.trace(token_ids, targets)
        elif rule == GENERATED:
            said, text = self._generate(token_ids)
            first = len(token_ids) - 1
            whole, positions = (*token_ids, *said), range(first, first + self._steps(said))
            for index, trace in enumerate(self._positions(whole, positions, targets)):
                yield replace(
                    trace,
                    position=first + index,
                    is_whole=index == 0,
                    generated=text,
                    generated_index=index,
                )
        else:
            positions = positions_of(rule, len(token_ids), self.model.zero_positions)
            traces = self._positions(token_ids, positions, targets)
            for position, trace in zip(positions, traces, strict=True):
                yield replace(trace, position=position, is_whole=position == positions[-1])

    def _generate(self, token_ids: Sequence[int]) -> tuple[tuple[int, ...], str]:
        most = self.config.attribution.generation.max_new_tokens
        try:
            (said,) = generate(self.model, TracedTokens(token_ids), [[]], most, stop=self.stop)
        except Exception as error:
            raise StageError("attribution", error) from error
        return said.token_ids, said.text

    def _steps(self, said: Sequence[int]) -> int:
        """Return how many tokens the model chose, the one that ended the text among them."""
        return min(len(said) + 1, self.config.attribution.generation.max_new_tokens)

    def _positions(
        self, token_ids: Sequence[int], positions: Sequence[int], targets: ChosenTargets | None
    ) -> Iterator[Trace]:
        """Trace positions over shared rows, in ever smaller blocks where the device has too little memory."""
        chosen = targets or self.targets
        block_pairs, shared = self.planner.choose(len(token_ids)), None
        waiting = list(positions)[::-1]
        end = 1 + last_position(tuple(positions), len(token_ids))  # nothing flows back from later tokens
        while waiting:
            reset_peak(*self.model.devices)
            try:
                shared = shared or SharedRows(
                    self.model,
                    TracedTokens(token_ids[:end]),
                    self.config.attribution,
                    block_pairs=block_pairs,
                )
                graph = shared.attribute(waiting[-1], as_specification(chosen))
            except torch.OutOfMemoryError as error:
                if block_pairs <= LEAST_BLOCK_PAIRS:
                    raise StageError("attribution", error) from error
            except Exception as error:
                raise StageError("attribution", error) from error
            else:
                waiting.pop()
                yield self._finished(graph, block_pairs, chosen)
                continue
            # Out of the handler, as in `_attribute`; the rows that are there are of the failed size, too.
            shared, block_pairs = None, block_pairs // 2
            torch.cuda.empty_cache()

    def _finished(self, graph: AttributionGraph, block_pairs: int, targets: ChosenTargets | None) -> Trace:
        """Prune a graph and measure it."""
        started = time.perf_counter()
        try:
            replacement_score, completeness_score = graph.scores()
            rules = self.config.pruning
            pruned = prune(graph, rules.node_threshold, rules.edge_threshold, rules.small)
            stable = stability(graph, pruned)
            unexpanded_influence = graph.unexpanded_influence()
            dropped_share = graph.edges.dropped_share()
            shared = time.perf_counter()
            constants_share = graph.constants_share()
        except Exception as error:
            raise StageError("pruning", error) from error
        ready = time.perf_counter()
        loadings = self._head_loadings(graph, pruned, targets)
        split = time.perf_counter()
        qk = self._qk(graph, pruned, loadings)
        extras = {
            "constants_share": ready - shared,
            "head_loadings": split - ready,
            "qk": time.perf_counter() - split,
        }
        seconds = graph.seconds + Seconds(pruning=ready - started, rows=time.perf_counter() - ready)
        peak = peak_bytes(*self.model.devices)
        return Trace(
            graph,
            pruned,
            stable,
            replacement_score,
            completeness_score,
            unexpanded_influence,
            dropped_share,
            constants_share,
            loadings,
            qk,
            extras,
            seconds,
            peak,
            block_pairs,
        )

    def _head_loadings(
        self, graph: AttributionGraph, pruned: PrunedGraph, targets: ChosenTargets | None
    ) -> HeadLoadings:
        try:
            return head_loadings(
                self.model,
                graph,
                pruned,
                self.config.attribution.head_loadings,
                targets=as_specification(targets),
                options=self.config.attribution,
            )
        except Exception as error:
            raise StageError("attribution", error) from error

    def _qk(
        self, graph: AttributionGraph, pruned: PrunedGraph, loadings: HeadLoadings
    ) -> QKAttribution | None:
        if not self.config.attribution.qk:
            return None
        try:
            return qk_attribution(self.model, graph, pruned, loadings, self.config.attribution.qk)
        except Exception as error:
            raise StageError("attribution", error) from error

    def _attribute(
        self, token_ids: Sequence[int], targets: ChosenTargets | None
    ) -> tuple[AttributionGraph, int]:
        """Trace a prompt; where the device has too little memory, in ever smaller blocks; tell their size."""
        block_pairs = self.planner.choose(len(token_ids))
        while True:
            try:
                graph = attribute(
                    self.model,
                    TracedTokens(token_ids),
                    as_specification(targets),
                    self.config.attribution,
                    block_pairs=block_pairs,
                )
                return graph, block_pairs
            except torch.OutOfMemoryError as error:
                if block_pairs <= LEAST_BLOCK_PAIRS:
                    raise StageError("attribution", error) from error
            except Exception as error:
                raise StageError("attribution", error) from error
            # Out of the handler: its traceback would keep the tensors of the failed attempt alive.
            block_pairs //= 2
            torch.cuda.empty_cache()
