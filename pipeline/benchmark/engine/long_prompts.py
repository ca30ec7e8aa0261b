"""Cost of a long prompt without its faint edges, and the effect of leaving them out where both fit."""

from __future__ import annotations

from pipeline.attribution import AttributionOptions, attribute
from pipeline.benchmark.engine.agreement import agreement
from pipeline.benchmark.engine.shapes import build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.graph import AttributionGraph, PrunedGraph, prune
from pipeline.model import ReplacementModel
from pipeline.peak_memory import peak_bytes, reset_peak

EDGES_PER_ROW = 8192
BOTH_FIT, BOTH_FIT_CAP = 256, 500
"""Tokens and rows at which all edges fit too."""

LONG, LONG_CAP = 2048, 2000


def report(settings: Settings) -> Report:
    """Trace a prompt of 256 tokens with all edges and with few, then one of 2,048 with few."""
    model = build("medium", settings.device)
    dense, dense_row = _trace(model, BOTH_FIT, BOTH_FIT_CAP, None)
    thin, thin_row = _trace(model, BOTH_FIT, BOTH_FIT_CAP, EDGES_PER_ROW)
    same = agreement(dense, thin)
    _, long_row = _trace(model, LONG, LONG_CAP, EDGES_PER_ROW)
    return Report(
        columns=("tokens, rows, edges kept a row", "active", "seconds", "edges", "dropped", "peak in all"),
        rows=(dense_row, thin_row, long_row),
        remarks=f"At {BOTH_FIT} tokens the pruned graphs agree: nodes {same.nodes:.4f}, "
        f"edges {same.edges:.4f} (Jaccard). 'dropped' is the share of all absolute edges; "
        "the peak holds model and interpreter too.",
    )


def _trace(
    model: ReplacementModel, n_tokens: int, rows: int, edges_per_row: int | None
) -> tuple[PrunedGraph, tuple[str, ...]]:
    reset_peak(*model.devices)
    graph = attribute(
        model,
        prompt(n_tokens),
        options=AttributionOptions(max_feature_nodes=rows, edges_per_row=edges_per_row),
    )
    pruned = prune(graph)
    return pruned, _figures(graph, n_tokens, rows, edges_per_row, peak_bytes(*model.devices))


def _figures(
    graph: AttributionGraph, n_tokens: int, rows: int, edges_per_row: int | None, peak: int
) -> tuple[str, ...]:
    return (
        f"{n_tokens:,}, {rows:,}, {edges_per_row or 'all'}",
        f"{len(graph.active_features):,}",
        f"{graph.seconds.total:.0f}",
        f"{graph.edges.n_bytes / 1e9:.2f} GB",
        f"{graph.edges.dropped_share():.1%}",
        f"{peak / 1e9:.1f} GB",
    )
