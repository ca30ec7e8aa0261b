"""Cost of many positions of one text: traced one by one, and over the feature rows that they share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from pipeline.attribution import AttributionOptions, attribute, attribute_positions
from pipeline.benchmark.engine.shapes import build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.graph import AttributionGraph, prune, stability
from pipeline.model import ReplacementModel

CASES = ((12, 8), (32, 8))
"""Tokens of the text, and positions at its end."""


def report(settings: Settings) -> Report:
    """Trace the last positions of texts both ways, in turns, with pruning as a sweep does it."""
    model = build(settings.shape, settings.device)
    rows = [_measured(model, settings, *case) for case in CASES]
    return Report(
        columns=("tokens, positions", "one by one", "together", "ratio", "of rows alone"),
        rows=tuple(rows),
        remarks="Seconds with scores, pruning and stability, which every graph has of its own; of rows "
        "alone: forward pass and edges. Ratios: median (smallest to largest) of pairs of runs side by side.",
    )


def _measured(model: ReplacementModel, settings: Settings, tokens: int, positions: int) -> tuple[str, ...]:
    ids, last = prompt(tokens), range(-positions, 0)

    def one_by_one() -> Iterator[AttributionGraph]:
        for position in last:
            yield attribute(model, ids, options=AttributionOptions(position=position))

    _pruned(attribute_positions(model, ids, last[-1:]))  # what is set up once
    pairs = [
        (_pruned(one_by_one()), _pruned(attribute_positions(model, ids, last)))
        for _ in range(settings.repeats)
    ]
    whole = [(one[0], both[0]) for one, both in pairs]
    return (
        f"{tokens}, {positions}",
        *(f"{median(seconds):.2f} s" for seconds in zip(*whole, strict=True)),
        _ratio(whole),
        _ratio([(one[1], both[1]) for one, both in pairs]),
    )


def _pruned(graphs: Iterator[AttributionGraph]) -> tuple[float, float]:
    """Return the seconds that graphs take, pruned, and those of their rows alone."""
    started, rows = time.perf_counter(), 0.0
    for graph in graphs:
        graph.scores()
        stability(graph, prune(graph))
        rows += graph.seconds.total
    return time.perf_counter() - started, rows


def _ratio(pairs: list[tuple[float, float]]) -> str:
    ratios = [one / other for one, other in pairs]
    return f"{median(ratios):.1f}x ({min(ratios):.1f}..{max(ratios):.1f})"
