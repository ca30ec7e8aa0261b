"""What Prometheus can see of a sweep, through Ray's own endpoint on every machine.

The driver counts what its workers report, so one process says it all, and a worker that dies takes no figure
with it. Rates are Prometheus' business: `rate(ray_circuit_sweep_rows_total[5m])` is rows a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ray.util.metrics import Counter, Gauge

from pipeline.sweep.progress_file import State
from pipeline.sweep.reports import ShardReport

PREFIX = "circuit_sweep_"


class Metrics:
    """Counters and gauges of one run; `output` tells several on one cluster apart."""

    def __init__(self, output: str) -> None:
        self._tags = {"output": output}
        self._prompts = self._counter("prompts", "Prompts that are done", "outcome")
        self._seconds = self._counter("seconds", "Seconds that workers spent", "phase")
        self._rows = self._counter("rows", "Rows that were committed", "table")
        self._bytes = self._counter("bytes", "Bytes that were committed", "table")
        self._deaths = self._counter("worker_deaths", "Workers that died")
        self._queue = Gauge(f"{PREFIX}queued_shards", "Shards that wait for a worker", ("output",))
        self._workers = Gauge(f"{PREFIX}workers", "Workers, by what they are about", ("output", "state"))

    def committed(self, report: ShardReport) -> None:
        """Count a shard that was committed."""
        self._count(self._prompts, {"graph": report.graphs, "failure": len(report.failed)}, "outcome")
        self._count(self._seconds, report.seconds, "phase")
        self._count(self._rows, report.rows, "table")
        self._count(self._bytes, report.bytes, "table")

    def died(self) -> None:
        """Count a death."""
        self._deaths.inc()

    def show(self, queued_shards: int, workers: Mapping[str, int]) -> None:
        """Say how many shards wait, and how many workers are in each state."""
        self._queue.set(queued_shards, self._tags)
        for state in get_args(State):
            self._workers.set(workers.get(state, 0), self._tags | {"state": state})

    def _counter(self, name: str, description: str, *tags: str) -> Counter:
        counter = Counter(f"{PREFIX}{name}", description, ("output", *tags))
        return counter.set_default_tags(self._tags)

    def _count(self, counter: Counter, values: Mapping[str, float], tag: str) -> None:
        for name, value in values.items():
            if value > 0:  # Ray refuses to add nothing
                counter.inc(value, {tag: name})
