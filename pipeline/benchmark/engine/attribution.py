"""Time whole graphs of a model shape, next to the machine's own rate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from pipeline.attribution import AttributionOptions, attribute
from pipeline.benchmark.engine.arithmetic import matrix_product_rate, row_operations
from pipeline.benchmark.engine.shapes import SHAPES, build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.graph import prune
from pipeline.model import ReplacementModel
from pipeline.peak_memory import peak_bytes, release_free_memory, reset_peak


@dataclass(frozen=True)
class Case:
    """One prompt of the benchmark."""

    n_tokens: int
    max_feature_nodes: int | None = None


CASES = {
    "medium": (Case(16), Case(64, 7500)),
    "gemma-2-2b": (Case(20),),
}


@dataclass(frozen=True)
class Measurement:
    """Measurements of one case; times are medians over the repeats, in seconds."""

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
    def seconds(self) -> float:
        """Seconds for the graph, pruning not counted."""
        return self.model_seconds + self.row_seconds


def report(settings: Settings) -> Report:
    """Build the model and time every case, after one run that is not counted."""
    model = build(settings.shape, settings.device)
    vocabulary = SHAPES[settings.shape].vocabulary
    attribute(
        model,
        prompt(16, vocabulary),
        options=AttributionOptions(max_feature_nodes=512, precision=settings.precision),
    )
    found = [measure(model, case, settings) for case in CASES[settings.shape]]
    return Report(
        columns=("", *(f"{item.case.n_tokens} tokens" for item in found)),
        rows=tuple((name, *(figure(item) for item in found)) for name, figure in _FIGURES.items()),
        remarks="'of machine' is the share of the matrix-product rate, measured in the same process in the "
        "same precision, that the rows reached by counted arithmetic. --peer PYTHON traces in turns with "
        "circuit-tracer.",
    )


def measure(model: ReplacementModel, case: Case, settings: Settings) -> Measurement:
    """Time one case."""
    token_ids = prompt(case.n_tokens, model.vocabulary_size)
    rate = matrix_product_rate(model.device, settings.precision)
    release_free_memory()
    reset_peak(*model.devices)
    before = peak_bytes(*model.devices)
    timings = []
    for _ in range(settings.repeats):
        graph = attribute(
            model,
            token_ids,
            options=AttributionOptions(
                max_feature_nodes=case.max_feature_nodes, precision=settings.precision
            ),
        )
        started = time.perf_counter()
        prune(graph)
        timings.append((graph.seconds.model, graph.seconds.rows, time.perf_counter() - started))
    peak = peak_bytes(*model.devices) - before
    rate = max(rate, matrix_product_rate(model.device, settings.precision))
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


_FIGURES = {
    "active features": lambda item: f"{item.active:,}",
    "rows": lambda item: f"{item.rows:,}",
    "seconds a graph": lambda item: f"{item.seconds:.2f}",
    "  model": lambda item: f"{item.model_seconds:.2f}",
    "  rows": lambda item: f"{item.row_seconds:.2f}",
    "seconds to prune": lambda item: f"{item.prune_seconds:.2f}",
    "rows a second": lambda item: f"{item.rows / item.row_seconds:,.0f}",
    "peak memory above model": lambda item: f"{item.peak_bytes / 1e9:.2f} GB",
    "rate of rows": lambda item: f"{item.row_rate / 1e9:,.0f} GFLOP/s",
    "machine's matrix product": lambda item: f"{item.matrix_rate / 1e9:,.0f} GFLOP/s",
    "of machine": lambda item: f"{item.row_rate / item.matrix_rate:.0%}",
}
