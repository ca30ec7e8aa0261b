"""Cost of what a sweep stores beside the graph itself: seconds and bytes a prompt."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from pipeline.attribution import AttributionOptions, attribute, explain_scores, head_loadings
from pipeline.benchmark.engine.attribution import CASES
from pipeline.benchmark.engine.shapes import SHAPES, build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.graph import AttributionGraph, prune, stability
from pipeline.model import ReplacementModel
from pipeline.readable import readable_bytes
from pipeline.store.rows import TracedPrompt, encode, graph_tables
from schemas import TABLES

EDGES, HEADS = 20, 10
"""Edges that are split by heads, and heads whose scores are split."""


@dataclass(frozen=True)
class Extra:
    """One of them."""

    seconds: float
    n_bytes: float


def report(settings: Settings) -> Report:
    """Measure them on the prompts whose graphs are timed."""
    model = build(settings.shape, settings.device)
    vocabulary = SHAPES[settings.shape].vocabulary
    columns, found = [""], []
    for case in CASES[settings.shape]:
        options = AttributionOptions(max_feature_nodes=case.max_feature_nodes, precision=settings.precision)
        graph = attribute(model, prompt(case.n_tokens, vocabulary), options=options)
        runs = [extras(model, graph) for _ in range(settings.repeats)]
        columns.append(f"{case.n_tokens} tokens")
        found.append((graph.seconds.total, runs))
    rows = [("the graph itself", *(f"{seconds:.2f} s" for seconds, _ in found))]
    for name in found[0][1][0]:
        cells = []
        for _, runs in found:
            seconds = median(run[name].seconds for run in runs)
            cells.append(f"{seconds:.3f} s, {readable_bytes(runs[0][name].n_bytes)}")
        rows.append((name, *cells))
    remarks = (
        "Bytes: of a prompt's rows in a file of their own. What `reconstruction` holds falls off where the "
        "model is frozen. Only `qk` is off unless a sweep asks for it (`attribution.qk`)."
    )
    return Report(tuple(columns), tuple(rows), remarks)


def extras(model: ReplacementModel, graph: AttributionGraph) -> dict[str, Extra]:
    """Return what each costs on a graph."""
    pruned = prune(graph)
    clock = [time.perf_counter()]

    def lap() -> float:
        clock.append(time.perf_counter())
        return clock[-1] - clock[-2]

    constants_share = graph.constants_share()
    of_constants = lap()
    loadings = head_loadings(model, graph, pruned, EDGES)
    of_loadings = lap()
    # No head of a random model carries an edge by itself, so they are named: spread over the layers.
    last = graph.n_positions - 1
    looks = [(i * model.n_layers // HEADS, 0, last, last // 2) for i in range(HEADS)]
    scores = explain_scores(model, graph, list(dict.fromkeys(looks)))
    of_scores = lap()
    prompt = TracedPrompt(
        prompt_key=0,
        id="0",
        run_key=0,
        graph=graph,
        pruned=pruned,
        stability=stability(graph, pruned),
        replacement_score=0.0,
        completeness_score=0.0,
        unexpanded_influence=0.0,
        dropped_share=0.0,
        constants_share=constants_share,
        pruning_seconds=0.0,
        head_loadings=loadings,
        qk=scores,
    )
    tables = graph_tables(prompt)
    sizes = {
        name: encode(TABLES[name], tables[name]).size for name in ("head_loadings", "qk", "reconstruction")
    }
    width = TABLES["graphs"].schema.field("constants_share").type.bit_width / 8
    return {
        f"head loadings of {EDGES} edges": Extra(of_loadings, sizes["head_loadings"]),
        f"qk of {HEADS} heads": Extra(of_scores, sizes["qk"]),
        "reconstruction": Extra(0.0, sizes["reconstruction"]),
        "constants_share": Extra(of_constants, width),
    }
