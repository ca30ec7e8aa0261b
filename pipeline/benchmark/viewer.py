"""Times of the viewer's answers on the 10 million edges of `--store`, compacted.

Timed is what the server does for a request, in one thread: the question, SQL, and the bytes of the answer;
not the network. Each endpoint is asked for several prompts or features; the first answer, which opens files,
is not counted. Budgets are the 95th percentiles that the viewer was designed for, on two cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from pipeline.benchmark.report import Report, Settings
from pipeline.benchmark.store import write_synthetic
from pipeline.store import Output
from pipeline.viewer import Session

SAMPLED = 20
"""Questions for each endpoint."""

BUDGETS = {
    "sweep": 50,
    "overview": 300,
    "prompts": 80,
    "graph": 150,
    "feature": 250,
    "feature edges": 150,
    "features": 250,
    "circuit of 30 prompts": 500,
    "search": 150,
}
"""Milliseconds."""


def report(settings: Settings) -> Report:
    """Write and compact a synthetic output in a temporary folder, and ask the viewer's endpoints."""
    with TemporaryDirectory(prefix="circuit-sweep-bench-") as folder:
        output = Output(folder)
        write_synthetic(output)
        output.compact()
        session = Session(folder)
        ids = session.rows(f"select id from graphs order by hash(id) limit {30 * SAMPLED}")
        features = session.rows(
            "select layer, feature from nodes where kind = 'feature' group by layer, feature "
            f"order by hash(layer * 100000 + feature) limit {SAMPLED}"
        )
        rows = [
            _row(name, [_milliseconds(ask, i) for i in range(SAMPLED)], BUDGETS[name])
            for name, ask in _questions(session, [row["id"] for row in ids], features).items()
        ]
    return Report(
        columns=("endpoint", "median", "95%", "budget", "bytes"),
        rows=tuple(rows),
        remarks="In milliseconds, one question at a time; the budget is of the 95th percentile.",
    )


def _questions(session: Session, ids: list[str], features: list[dict]) -> dict[str, Callable[[int], bytes]]:
    """Return the n-th question to each endpoint."""

    def feature(n: int) -> dict[str, str]:
        return {name: str(value) for name, value in features[n % len(features)].items()}

    edges = "/api/feature/{layer}/{feature}/edges"
    return {
        "sweep": lambda n: session.ask("/api/sweep"),
        "overview": lambda n: session.ask("/api/overview"),
        "prompts": lambda n: session.ask("/api/prompts", sort="-kept_nodes"),
        "graph": lambda n: session.ask("/api/graph/{key:.+}", {"key": ids[n]}),
        "feature": lambda n: session.ask("/api/feature/{layer}/{feature}", feature(n)),
        "feature edges": lambda n: session.ask(edges, feature(n), end="source"),
        "features": lambda n: session.ask("/api/features"),
        "circuit of 30 prompts": lambda n: session.ask("/api/circuit", keys=ids[30 * n : 30 * n + 30]),
        "search": lambda n: session.ask("/api/search", q=ids[n][-2:]),
    }


def _milliseconds(ask: Callable[[int], bytes], number: int) -> tuple[float, int]:
    if not number:
        ask(0)  # opens files
    started = time.perf_counter()
    size = len(ask(number))
    return 1000 * (time.perf_counter() - started), size


def _row(name: str, measured: list[tuple[float, int]], budget: int) -> tuple[str, ...]:
    times = [milliseconds for milliseconds, _ in measured]
    size = median(size for _, size in measured)
    return (name, f"{median(times):.0f}", f"{quantiles(times, n=20)[-1]:.0f}", str(budget), f"{size:,.0f}")
