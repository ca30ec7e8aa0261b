"""Effect of each matmul precision on edges and pruned graphs, against float64."""

from __future__ import annotations

import torch

from pipeline.attribution import AttributionOptions, Precision, attribute
from pipeline.benchmark.engine.agreement import agreement
from pipeline.benchmark.engine.shapes import build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.builtin import MODEL, PROMPTS, TRANSCODERS
from pipeline.graph import AttributionGraph, prune
from pipeline.model import ReplacementModel

DEMO_PROMPTS = 8
TOKENS = 10


def report(settings: Settings) -> Report:
    """Trace prompts of both models in each precision and compare to the same weights in float64."""
    import pyarrow.parquet as parquet

    texts = parquet.read_table(PROMPTS, columns=["prompt"])["prompt"].to_pylist()
    texts = texts[:: max(1, len(texts) // DEMO_PROMPTS)][:DEMO_PROMPTS]
    demo = [
        ReplacementModel.from_pretrained(MODEL, TRANSCODERS, settings.device, dtype)
        for dtype in (torch.float32, torch.float64)
    ]
    medium = [build("medium", settings.device, dtype) for dtype in (torch.float32, torch.float64)]
    medium[1].model.load_state_dict(medium[0].model.state_dict())
    medium[1] = ReplacementModel.assemble(
        "medium", medium[1].model, medium[0].tokenizer, medium[0].architecture, medium[0].transcoders
    )
    precisions: list[Precision] = ["float32", "bfloat16"]
    if settings.device == "cuda":
        precisions.insert(1, "tf32")
    rows = []
    for name, (model, exact), prompts in (("demo", demo, texts), ("medium", medium, [prompt(TOKENS)])):
        references = [attribute(exact, text) for text in prompts]
        rows += [
            (f"{name}, {precision}", *_compare(model, precision, prompts, references))
            for precision in precisions
        ]
    return Report(
        columns=("model, products in", "largest error", "median error", "nodes", "edges"),
        rows=tuple(rows),
        remarks="Errors of edges: the largest relative to the graph's largest edge, the median relative to "
        "the edge itself (worst prompt). Nodes and edges: Jaccard index of the pruned graphs (worst prompt).",
    )


def _compare(
    model: ReplacementModel, precision: Precision, prompts: list, references: list[AttributionGraph]
) -> tuple[str, ...]:
    largest, typical, nodes, edges = [], [], [], []
    for text, reference in zip(prompts, references, strict=True):
        graph = attribute(model, text, options=AttributionOptions(precision=precision))
        if torch.equal(graph.active_features, reference.active_features):
            expected, error = reference.dense(), (graph.dense().double() - reference.dense()).abs()
            largest.append(float(error.max() / expected.abs().max()))
            present = expected != 0
            typical.append(float((error[present] / expected[present].abs()).median()))
        overlap = agreement(prune(reference), prune(graph))
        nodes.append(overlap.nodes)
        edges.append(overlap.edges)
    return f"{max(largest):.1e}", f"{max(typical):.1e}", f"{min(nodes):.3f}", f"{min(edges):.3f}"
