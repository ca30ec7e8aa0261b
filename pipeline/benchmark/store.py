"""Query times of a compacted output and its bytes per edge, on 10 million synthetic edges.

Timed is what a user calls, `Results.sql`, to an Arrow table: planning, choosing the projection, and reading;
the first query, which opens the files, is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from pipeline.benchmark.report import Report, Settings
from pipeline.benchmark.synthetic import PROMPTS, write_synthetic
from pipeline.results import Results
from pipeline.store import Output
from pipeline.store.compaction import Compacted

SAMPLED = 50
"""Prompts and features that are looked up."""


def report(settings: Settings) -> Report:
    """Write, compact and ask a synthetic output in a temporary folder."""
    with TemporaryDirectory(prefix="circuit-sweep-bench-") as folder:
        output = Output(folder)
        write_seconds = _seconds(lambda: write_synthetic(output))
        done: list[Compacted] = []
        compact_seconds = _seconds(lambda: done.extend(output.compact()))
        edges = next(part for part in done if part.table == "edges")
        rows = [
            ("edges", f"{edges.rows:,}"),
            ("files, before and after", f"{edges.files_before} and {edges.files}"),
            ("bytes an edge, by prompt", f"{edges.bytes / edges.rows:.2f}"),
            *(
                (f"bytes an edge, {name}", f"{size / edges.rows:.2f}")
                for name, size in edges.projections.items()
            ),
            *_lookups(Results(output), settings.repeats),
            ("making and committing", f"{write_seconds:.0f} s"),
            ("compacting, all projections", f"{compact_seconds:.0f} s"),
        ]
    remarks = f"Synthetic edges of {PROMPTS:,} prompts; times are median / slowest of {SAMPLED} lookups."
    return Report(("store", ""), tuple(rows), remarks)


def _lookups(results: Results, repeats: int) -> Iterator[tuple[str, str]]:
    draw = np.random.default_rng(1)
    keys = draw.choice(results.dataset("graphs").to_table(columns=["prompt_key"])["prompt_key"], SAMPLED)
    yield "one prompt's graph", _timed(lambda key: _graph(results, key), keys, repeats)
    for end in ("source", "target"):
        features = _features(results, end)
        drawn = draw.choice(features, SAMPLED)
        yield (
            f"one feature's edges as {end}",
            _timed(lambda at, e=end: _edges(results, e, *at), drawn, repeats),
        )
        busiest = features[:1]
        yield (
            f"  the busiest feature's ({end})",
            _timed(lambda at, e=end: _edges(results, e, *at), busiest, repeats),
        )


def _features(results: Results, end: str) -> list[tuple[int, int]]:
    """Return layer and index of every feature that is an end of an edge, the busiest first."""
    edges = results.relation("edges").filter(f"{end}_kind = 'feature'")
    counts = edges.aggregate(f"{end}_layer, {end}_feature, count(*) as edges").order(
        f"edges desc, {end}_layer, {end}_feature"
    )
    return [(layer, feature) for layer, feature, _ in counts.fetchall()]


def _graph(results: Results, key: int) -> list[pa.Table]:
    tables = ("graphs", "nodes", "edges")
    return [results.sql(f"select * from {t} where prompt_key = {key}").to_arrow_table() for t in tables]


def _edges(results: Results, end: str, layer: int, feature: int) -> pa.Table:
    here = f"{end}_kind = 'feature' and {end}_layer = {layer} and {end}_feature = {feature}"
    return results.sql(f"select * from edges where {here}").to_arrow_table()


def _timed(ask: Callable[[object], object], things: Iterable[object], repeats: int) -> str:
    things = list(things)
    ask(things[0])
    times = [median(_seconds(lambda thing=thing: ask(thing)) for _ in range(repeats)) for thing in things]
    return f"{1000 * median(times):.1f} / {1000 * max(times):.1f} ms"


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started
