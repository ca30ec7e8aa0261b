"""Rows that a tolerance needs, and how far its pruned graph is from the one with every row."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from pipeline.attribution import AttributionOptions, attribute
from pipeline.benchmark.engine.agreement import Agreement, agreement
from pipeline.benchmark.engine.shapes import build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.builtin import MODEL, PROMPTS, TRANSCODERS
from pipeline.graph import prune
from pipeline.model import ReplacementModel

TOLERANCES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
DEMO_PROMPTS = 40
"""Taken at equal distances from the built-in prompts."""


@dataclass(frozen=True)
class _Outcome:
    row_share: float
    agreement: Agreement


def report(settings: Settings) -> Report:
    """Compare tolerances on the built-in model's prompts and on the medium model."""
    models = {
        "demo": (
            ReplacementModel.from_pretrained(MODEL, TRANSCODERS, device=settings.device),
            _demo_prompts(),
        ),
        "medium, 16 tokens": (build("medium", settings.device), [prompt(16)]),
    }
    rows = []
    for name, (model, prompts) in models.items():
        for tolerance, outcomes in _compare(model, prompts).items():
            rows.append((f"{name}, {tolerance}", *_figures(outcomes)))
    return Report(
        columns=("model, tolerance", "rows of all", "nodes", "worst", "edges", "influence moved"),
        rows=tuple(rows),
        remarks="Rows as a share of all; Jaccard index of the pruned graph's nodes (median and worst prompt) "
        "and edges, and total variation of influence, against the graph with every row.",
    )


def _demo_prompts() -> list[str]:
    import pyarrow.parquet as parquet

    texts = parquet.read_table(PROMPTS, columns=["prompt"])["prompt"].to_pylist()
    return texts[:: max(1, len(texts) // DEMO_PROMPTS)]


def _compare(model: ReplacementModel, prompts: list) -> dict[float, list[_Outcome]]:
    outcomes: dict[float, list[_Outcome]] = {tolerance: [] for tolerance in TOLERANCES}
    for text in prompts:
        everything = attribute(model, text)
        pruned = prune(everything)
        for tolerance in TOLERANCES:
            graph = attribute(model, text, options=AttributionOptions(tolerance=tolerance))
            share = len(graph.expanded) / max(1, len(everything.expanded))
            outcomes[tolerance].append(_Outcome(share, agreement(pruned, prune(graph))))
    return outcomes


def _figures(outcomes: list[_Outcome]) -> tuple[str, ...]:
    nodes = [outcome.agreement.nodes for outcome in outcomes]
    return (
        f"{median(outcome.row_share for outcome in outcomes):.0%}",
        f"{median(nodes):.3f}",
        f"{min(nodes):.3f}",
        f"{median(outcome.agreement.edges for outcome in outcomes):.3f}",
        f"{median(outcome.agreement.influence_distance for outcome in outcomes):.4f}",
    )
