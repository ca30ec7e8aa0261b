"""What a dictionary's graphs are like: our own engine on held-out prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from pipeline.attribution import attribute
from pipeline.graph import AttributionGraph, prune
from pipeline.model import LanguageModel, ReplacementModel, TracedTokens
from pipeline.training.data import TokenSet
from pipeline.transcoders import Transcoders
from pipeline.validation import ValidationConfig
from pipeline.validation.faithfulness import circuit_of, validate_graph

PROMPTS, VALIDATED = 100, 20
"""Held-out prompts that are traced, and those of them whose circuits are tested."""

LENGTHS = (10, 64)
"""Fewest and most tokens of these prompts."""


@dataclass(frozen=True)
class GraphMetrics:
    """Medians over graphs of held-out prompts."""

    prompts: int
    replacement: float
    """Share of the influence from tokens and errors that comes from tokens."""

    completeness: float
    """Share of the influence that does not pass through errors."""

    active_features: float
    """Active features of a graph."""

    validated: int
    """Prompts whose circuits were tested."""

    faithfulness: float | None
    """Median Spearman correlation of a feature's influence with the effect of ablating it in the live model;
    None where no circuit could be tested."""


def measure_graphs(
    model: LanguageModel,
    transcoders: Transcoders,
    tokens: TokenSet,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> GraphMetrics | None:
    """Trace held-out prompts and test some circuits; None where no prompt is long enough.

    Args:
        model: the model.
        transcoders: the dictionary as `run` reads it.
        tokens: the held-out set.
        seed: of the tests.
        advance: called once a prompt.

    """
    traced = ReplacementModel.assemble(
        model.name,
        model.model,
        model.tokenizer,
        model.architecture,
        transcoders,
        zero_positions=model.zero_positions,
    )
    lengths = np.diff(tokens.starts)
    chosen = np.flatnonzero((lengths >= LENGTHS[0]) & (lengths <= LENGTHS[1]))[:PROMPTS]
    scores: list[tuple[float, float, int]] = []
    correlations: list[float] = []
    validated = 0
    random = np.random.default_rng(seed)
    for number, sequence in enumerate(tokens.sequences(chosen)):
        graph = attribute(traced, TracedTokens(sequence.tolist()))
        scores.append((*graph.scores(), len(graph.active_features)))
        if number < VALIDATED and (found := _faithfulness(traced, graph, random)) is not None:
            correlations.append(found)
            validated += 1
        advance()
    if not scores:
        return None
    replacement, completeness, active = (median(column) for column in zip(*scores, strict=True))
    return GraphMetrics(
        prompts=len(scores),
        replacement=replacement,
        completeness=completeness,
        active_features=active,
        validated=validated,
        faithfulness=median(correlations) if correlations else None,
    )


def _faithfulness(
    model: ReplacementModel, graph: AttributionGraph, random: np.random.Generator
) -> float | None:
    circuit = circuit_of(graph, prune(graph))
    if not len(circuit.features):
        return None
    found = validate_graph(model, circuit, ValidationConfig(draws=20), random).faithfulness["spearman"]
    return None if found is None or np.isnan(found) else float(found)
