"""This engine and circuit-tracer in turns: same weights, prompts, rows and threads, one run.

A stored time divided by a measured one says as much of two machines as of two programs. So both stay loaded
and trace the same prompt in turns; a ratio is taken within each pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from pipeline.benchmark.engine import prompt
from pipeline.benchmark.peers.processes import OURS, PEER, Tracer, both
from pipeline.benchmark.peers.short_prompts import demo_prompts
from pipeline.benchmark.peers.short_prompts import rows as rows_of_short_prompts
from pipeline.benchmark.report import Report, Settings

PHASES = ("setup", "rows", "pruning", "writing")

Pair = tuple[dict[str, Any], dict[str, Any]]
"""Answers of this project and of circuit-tracer to one prompt."""


@dataclass(frozen=True)
class Case:
    """A prompt that both trace."""

    model: str
    """`demo`, or the name of a shape."""

    n_tokens: int
    rows: int | None = None
    """Most feature rows; all by default."""

    @property
    def tokens(self) -> list[int]:
        """Token ids of the prompt."""
        return demo_prompts(1)[0] if self.model == "demo" else prompt(self.n_tokens)


CASES = (Case("demo", 10), Case("medium", 16), Case("medium", 64, 7500))

SHORT = {"demo": (1000, 100), "medium": (100, 6)}
"""By model: prompts of a sweep, and of these, as many as circuit-tracer is asked for, evenly spread."""


def report(settings: Settings) -> Report:
    """Trace every case in pairs, then sweep over many short prompts."""
    rows: list[tuple[str, ...]] = []
    versions = ("", "")
    for model in dict.fromkeys(case.model for case in CASES):
        with TemporaryDirectory() as folder, both(model, Path(folder), str(settings.peer)) as tracers:
            versions = (tracers[0].version, tracers[1].version)
            for case in (case for case in CASES if case.model == model):
                rows += case_rows(case, pairs(case, tracers, settings.repeats))
            rows += rows_of_short_prompts(model, Path(folder), tracers, *SHORT[model])
    return Report(
        ("", f"{OURS} {versions[0]}", f"{PEER} {versions[1]}", "ratio: median, least to most"),
        tuple(rows),
        f"Medians of {settings.repeats} pairs in turns, {torch.get_num_threads()} threads each; seconds of "
        "one prompt, loading apart. Setup: from tokens to what rows need. Writing: here the rows of all "
        "tables as Parquet, there the JSON of the pruned graph. 'Edges' is the sum of all absolute edges: "
        "where it is the same, so is the graph. Many prompts: here a whole sweep by workers, its start apart "
        "(the difference of a long and a short one), there a loop over some of the prompts.",
    )


def pairs(case: Case, tracers: tuple[Tracer, Tracer], repeats: int) -> list[Pair]:
    """Trace in turns, each first in every other pair, after one pair that is not counted."""
    found: list[Pair] = []
    for number in range(repeats + 1):
        order = (0, 1) if number % 2 else (1, 0)
        answers = {which: tracers[which].trace(case.tokens, case.rows) for which in order}
        found.append((answers[0], answers[1]))
    return found[1:]


def case_rows(case: Case, found: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of one case: sizes, seconds of each phase and in all, with ratios."""
    name = f"{case.model}, {len(case.tokens)} tokens"
    first = found[0]
    yield (f"{name}: active, rows", *(f"{one['active']:,}, {one['n_rows']:,}" for one in first), "")
    if case.rows is None:
        off = abs(first[0]["edges"] / first[1]["edges"] - 1)
        yield ("  edges", *(f"{one['edges']:,.2f}" for one in first), f"differ by {off:.0e}")
    for phase in PHASES:
        yield (f"  {phase}", *_seconds([(ours[phase], theirs[phase]) for ours, theirs in found]))
    for name, phases in (("graph", PHASES[:2]), ("all", PHASES)):
        sums = [tuple(sum(one[phase] for phase in phases) for one in pair) for pair in found]
        yield (f"  {name}", *_seconds(sums))


def _seconds(found: Sequence[Sequence[float]]) -> tuple[str, str, str]:
    ours, theirs = (median(column) for column in zip(*found, strict=True))
    ratios = sorted(peer / own for own, peer in found)
    return f"{ours:.4f}", f"{theirs:.3f}", f"{median(ratios):.1f}x, {ratios[0]:.1f} to {ratios[-1]:.1f}"
