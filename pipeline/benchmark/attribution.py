"""Time whole graphs on the medium model, next to the machine's own rate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch

from pipeline.attribution import attribute
from pipeline.benchmark.arithmetic import matrix_product_rate, row_operations
from pipeline.benchmark.medium_model import medium_model, prompt
from pipeline.graph import prune
from pipeline.model import ReplacementModel
from pipeline.peak_memory import peak_bytes, reset_peak


@dataclass(frozen=True)
class Case:
    """One prompt of the benchmark."""

    n_tokens: int
    max_feature_nodes: int | None
    reference_seconds: float
    """circuit-tracer 0.4.1 on this shape: 2 CPU threads, float32, its best batch size, a quiet machine."""


CASES = (Case(16, None, 36.6), Case(64, 7500, 350.0))


@dataclass(frozen=True)
class Measurement:
    """What one case took; times are medians over the repeats, in seconds."""

    case: Case
    active: int
    """Active features of the prompt."""

    rows: int
    """Rows computed: expanded features and targets."""

    model_seconds: float
    """Forward pass, features, errors, source vectors."""

    row_seconds: float
    """Edges of all rows, and the influence that chooses them where there is a cap."""

    prune_seconds: float
    peak_bytes: int
    """Memory above what was in use before, model loaded."""

    matrix_rate: float
    """Operations a second of a large matrix product, the better of right before and right after."""

    row_rate: float
    """Operations a second that the rows reached, by `row_operations`."""

    @property
    def share(self) -> float:
        """Share of the machine's rate that the rows reached."""
        return self.row_rate / self.matrix_rate

    @property
    def seconds(self) -> float:
        """Seconds for the graph, pruning not counted."""
        return self.model_seconds + self.row_seconds


def measure(device: str, dtype: torch.dtype, repeats: int) -> list[Measurement]:
    """Build the medium model and time every case, after one run that is not counted."""
    model = medium_model(device=device, dtype=dtype)
    attribute(model, prompt(16), max_feature_nodes=512)
    return [_measure(model, case, repeats) for case in CASES]


def _measure(model: ReplacementModel, case: Case, repeats: int) -> Measurement:
    token_ids = prompt(case.n_tokens)
    rate = matrix_product_rate(model.device, model.unembedding.dtype)
    reset_peak(model.device)
    before = peak_bytes(model.device)
    timings = []
    for _ in range(repeats):
        graph = attribute(model, token_ids, max_feature_nodes=case.max_feature_nodes)
        started = time.perf_counter()
        prune(graph)
        timings.append((graph.seconds["model"], graph.seconds["rows"], time.perf_counter() - started))
    peak = peak_bytes(model.device) - before
    rate = max(rate, matrix_product_rate(model.device, model.unembedding.dtype))
    model_seconds, row_seconds, prune_seconds = (median(column) for column in zip(*timings, strict=True))
    return Measurement(
        case=case,
        active=len(graph.active_features),
        rows=len(graph.expanded) + len(graph.targets),
        model_seconds=model_seconds,
        row_seconds=row_seconds,
        prune_seconds=prune_seconds,
        peak_bytes=peak,
        matrix_rate=rate,
        row_rate=row_operations(model, graph) / row_seconds,
    )
