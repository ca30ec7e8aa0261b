"""Times of the viewer's answers on the 10 million edges of `--store`, compacted.

Timed is what the server does for a request, in one thread: the question, SQL, and the bytes of the answer;
not the network. Each endpoint is asked for several prompts or features; the first answer, which opens files
and makes sums over all prompts, is not counted. Budgets are the 95th percentiles that the viewer was designed
for, on two cores that do nothing else: the CPU time, of all threads, says what a busy machine hides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from pipeline.benchmark.report import Report, Settings
from pipeline.benchmark.synthetic import write_synthetic
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
    "busiest feature": 250,
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
        write_synthetic(output, has_activations=True)
        output.compact()
        session = Session(folder)
        ids = session.rows(f"select id from graphs order by hash(id) limit {30 * SAMPLED}")
        features = session.rows(
            "select layer, feature from nodes where kind = 'feature' group by layer, feature "
            f"order by hash(layer * 100000 + feature) limit {SAMPLED}"
        )
        busiest = session.rows(
            "select layer, feature from nodes where kind = 'feature' group by layer, feature "
            f"order by count(*) desc, layer, feature limit {SAMPLED}"
        )
        rows = [
            _row(name, [_measured(ask, i) for i in range(SAMPLED)], BUDGETS[name])
            for name, ask in _questions(session, [row["id"] for row in ids], features, busiest).items()
        ]
    return Report(
        columns=("endpoint", "median", "95%", "budget", "CPU", "bytes"),
        rows=tuple(rows),
        remarks="In milliseconds, one question at a time; the budget is of the 95th percentile.",
    )


def _questions(
    session: Session, ids: list[str], features: list[dict], busiest: list[dict]
) -> dict[str, Callable[[int], bytes]]:
    """Return the n-th question to each endpoint."""

    def feature(n: int, among: list[dict] = features) -> dict[str, str]:
        return {name: str(value) for name, value in among[n % len(among)].items()}

    edges = "/api/feature/{layer}/{feature}/edges"
    return {
        "sweep": lambda n: session.ask("/api/sweep"),
        "overview": lambda n: session.ask("/api/overview"),
        "prompts": lambda n: session.ask("/api/prompts", sort="-kept_nodes"),
        "graph": lambda n: session.ask("/api/graph/{key:.+}", {"key": ids[n]}),
        "feature": lambda n: session.ask("/api/feature/{layer}/{feature}", feature(n)),
        "busiest feature": lambda n: session.ask("/api/feature/{layer}/{feature}", feature(n, busiest)),
        "feature edges": lambda n: session.ask(edges, feature(n), end="source"),
        "features": lambda n: session.ask("/api/features"),
        "circuit of 30 prompts": lambda n: session.ask("/api/circuit", keys=ids[30 * n : 30 * n + 30]),
        "search": lambda n: session.ask("/api/search", q=ids[n][-2:]),
    }


@dataclass(frozen=True)
class Measured:
    """Cost of one answer."""

    milliseconds: float
    cpu_milliseconds: float
    bytes: int


def _measured(ask: Callable[[int], bytes], number: int) -> Measured:
    if not number:
        ask(0)  # opens files
    started, busy = time.perf_counter(), time.process_time()
    size = len(ask(number))
    return Measured(1000 * (time.perf_counter() - started), 1000 * (time.process_time() - busy), size)


def _row(name: str, measured: list[Measured], budget: int) -> tuple[str, ...]:
    times = [one.milliseconds for one in measured]
    last = quantiles(times, n=20)[-1]
    busy, size = median(one.cpu_milliseconds for one in measured), median(one.bytes for one in measured)
    return (name, f"{median(times):.0f}", f"{last:.0f}", str(budget), f"{busy:.0f}", f"{size:,.0f}")
