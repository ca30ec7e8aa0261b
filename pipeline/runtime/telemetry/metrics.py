"""Figures of a run for Prometheus, through Ray's own endpoint on every machine.

The driver counts what its workers report, so one process says it all, and a worker that dies takes no figure
with it. Rates are Prometheus' business: `rate(ray_circuit_sweep_rows_total[5m])` is rows a second.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import get_args

from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Gauge

from pipeline.runtime.telemetry.run_state import Activity
from pipeline.runtime.workers import ShardReport

PREFIX = "circuit_sweep_"

TELL_SECONDS = 1.0
"""Minimum pause between two updates of Ray's counters while shards come in: each update takes Ray a while."""


class Metrics:
    """Counters and gauges of one run; `output` tells several on one cluster apart."""

    def __init__(self, output: str) -> None:
        self._tags = {"output": output}
        self._prompts = Tally("prompts", "Prompts that are done", "outcome", self._tags)
        self._seconds = Tally("seconds", "Seconds that workers spent", "phase", self._tags)
        self._rows = Tally("rows", "Rows that were committed", "table", self._tags)
        self._bytes = Tally("bytes", "Bytes that were committed", "table", self._tags)
        self._told = float("-inf")
        self._deaths = RayCounter(f"{PREFIX}worker_deaths", "Workers that died", ("output",))
        self._queue = Gauge(f"{PREFIX}queued_shards", "Shards that wait for a worker", ("output",))
        self._workers = Gauge(f"{PREFIX}workers", "Workers, by what they do", ("output", "state"))

    def committed(self, report: ShardReport) -> None:
        """Count a shard that was committed; Ray hears of it soon, or from `show`."""
        self._prompts.add({"graph": report.with_rows, "failure": len(report.failed)})
        self._seconds.add(asdict(report.seconds))
        self._rows.add(report.rows)
        self._bytes.add(report.bytes)
        if time.monotonic() - self._told > TELL_SECONDS:
            self._tell()

    def died(self) -> None:
        """Count a death."""
        self._deaths.inc(tags=self._tags)

    def show(self, queued_shards: int, workers: Mapping[str, int]) -> None:
        """Say what was committed, how many shards wait, and how many workers are in each state."""
        self._tell()
        self._queue.set(queued_shards, self._tags)
        for state in get_args(Activity):
            self._workers.set(workers.get(state, 0), self._tags | {"state": state})

    def _tell(self) -> None:
        self._told = time.monotonic()
        for tally in (self._prompts, self._seconds, self._rows, self._bytes):
            tally.tell()


class Tally:
    """A counter of Ray's with a label, which is told the sum now and then."""

    def __init__(self, name: str, description: str, label: str, tags: Mapping[str, str]) -> None:
        self._counter = RayCounter(f"{PREFIX}{name}", description, (*tags, label))
        self._label, self._tags = label, tags
        self._new: dict[str, float] = defaultdict(float)

    def add(self, values: Mapping[str, float]) -> None:
        """Count what is new, by the label's value."""
        for value, number in values.items():
            self._new[value] += number

    def tell(self) -> None:
        """Tell Ray what is new."""
        while self._new:  # one after the other: what was told must not be told again after an interruption
            value, number = self._new.popitem()
            if number > 0:  # Ray refuses to add nothing
                self._counter.inc(number, {**self._tags, self._label: value})
