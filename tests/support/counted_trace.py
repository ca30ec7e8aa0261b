"""Trace a prompt and see what it took beside what was counted for it; for a process of its own."""

from __future__ import annotations

import torch

from pipeline.attribution import AttributionOptions, attribute
from pipeline.benchmark.engine import shapes
from pipeline.graph import prune, stability
from pipeline.peak_memory import bytes_in_use, peak_bytes, reset_peak
from pipeline.planning.memory import prompt_bytes
from pipeline.planning.sizes import ModelSizes, PromptSizes

NARROW = shapes.Shape("llama", 4, 64, 4, 2, 16, 256, 4096, 160, "mlp.hook_in", "mlp.hook_out")
"""Many features and little arithmetic: graphs of hundreds of megabytes in seconds."""


def counted_trace(positions: int, block_pairs: int, cap: int | None = None) -> dict[str, int]:
    """Return bytes: measured, and counted with and without knowing what the trace found."""
    torch.set_num_threads(1)
    shapes.SHAPES["narrow"] = NARROW
    model = shapes.build("narrow")
    attribute(model, shapes.prompt(3, NARROW.vocabulary))
    sizes, rules = ModelSizes.of(model), AttributionOptions(max_feature_nodes=cap)
    before = bytes_in_use(model.device)
    reset_peak(model.device)
    graph = attribute(
        model,
        shapes.prompt(positions, NARROW.vocabulary),
        options=AttributionOptions(max_feature_nodes=cap),
        block_pairs=block_pairs,
    )
    pruned = prune(graph)
    stability(graph, pruned)
    measured = peak_bytes(model.device) - before
    known = PromptSizes.of(graph, pruned)
    guessed = PromptSizes(known.positions, known.active, known.rows, kept_edges=known.kept_edges)
    return {
        "measured": measured,
        "counted": prompt_bytes(sizes, known, rules, block_pairs).peak,
        "guessed": prompt_bytes(sizes, guessed, rules, block_pairs).peak,
        "edges": graph.edges.n_bytes,
        "guessed_edges": prompt_bytes(sizes, guessed, rules, block_pairs).edges,
    }
