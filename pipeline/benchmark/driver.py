"""Cost of the driver: a million prompts through the real driver, with an engine that only sleeps.

10,000 shards of 100 prompts, 16 workers. Driver, Ray actors, shards and commits are the real ones; the tables
are a row a prompt, made within the time that the engine takes: what holds that up shortens the sleep, what
holds up anything else is lost. A shard takes two seconds, so that two cores bear 16 workers, whose own work
is about 40 ms of CPU a shard, with Ray's. (100 whole graphs of Gemma-2-2B take an H200 at least 8 seconds of
arithmetic.) The whole takes 22 minutes. Then the sweep is asked what is left of it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, quantiles
from tempfile import TemporaryDirectory
from typing import ClassVar

import pyarrow as pa

from pipeline.benchmark.report import Report, Settings
from pipeline.errors import ConfigurationError
from pipeline.model import TracedTokens
from pipeline.peak_memory import bytes_in_use
from pipeline.runtime import (
    Counts,
    Driver,
    Item,
    Placement,
    Rows,
    SeenKeys,
    Shard,
    Shards,
    WorkerPool,
    WorkerResources,
    cluster,
    read_seen,
)
from pipeline.runtime.telemetry import Progress
from pipeline.store import SWEEP, Output
from pipeline.store.commits import Marker
from pipeline.sweep.prompts import Prompt, PromptItems
from pipeline.untrusted import Console
from schemas import TABLES, Table

WORKERS, PROMPTS_A_SHARD, SHARD_SECONDS = 16, 100, 2.0
RUN_KEY = 0

ROUNDS = 3
"""Shards that each thread sleeps through where the machine alone is looked at."""

LOOK_EVERY = 20
"""Shards between two readings of the process's memory."""


@dataclass
class Sleep:
    """Work that sleeps. A row says nothing but its item's key."""

    item_seconds: float
    tables: ClassVar[tuple[Table, ...]] = tuple(TABLES.values())
    memory_bytes: ClassVar[int | None] = None

    def load(self, resources: WorkerResources, output: Output) -> None:
        """Prepare a row."""
        empty = {"string": "", "int64": 0, "int32": 0, "double": 0.0, "timestamp[us, tz=UTC]": 0}
        schema = TABLES["graphs"].schema
        values = {field.name: empty.get(str(field.type), []) for field in schema}
        self._row = pa.Table.from_pylist([values], schema)
        self._column = schema.get_field_index("prompt_key")

    def do(self, item: Item) -> Rows:
        """Sleep, and make the row within the time of that."""
        ends = time.monotonic() + self.item_seconds
        field = self._row.schema.field(self._column)
        row = self._row.set_column(self._column, field, pa.array([item.key], field.type))
        time.sleep(max(0.0, ends - time.monotonic()))
        return Rows({"graphs": row})


class Memory:
    """Resident memory of this process, looked at while shards are made, and seldom enough to cost nothing."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def watch(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        """Yield the shards."""
        for number, shard in enumerate(shards):
            if number % LOOK_EVERY == 0:
                self.seen.append(bytes_in_use())
            yield shard

    def __str__(self) -> str:
        figures = (self.seen[0], self.seen[len(self.seen) // 10], self.seen[-1], max(self.seen))
        return ", ".join(f"{size / 1e6:.0f}" for size in figures) + " MB"


def pace() -> str:
    """Return the milliseconds that plain Python takes for a fixed piece of work, as text."""
    # A shared machine is not always equally fast; this figure lets two runs be compared.
    started = time.perf_counter()
    sum(number * number for number in range(1_000_000))
    return f"{1000 * (time.perf_counter() - started):.0f} ms"


def stolen() -> Callable[[], str]:
    """Return what says how much of the time that cores are busy from now on the host takes away (Linux)."""
    before = _busy_and_stolen()

    def since() -> str:
        busy, taken = (now - then for now, then in zip(_busy_and_stolen(), before, strict=True))
        return f"{taken / (busy + taken):.0%}" if busy + taken else "not known"

    return since


def _busy_and_stolen() -> tuple[int, int]:
    """Return the ticks that all cores worked, and that they wanted to work and were not let."""
    counts = Path("/proc/stat")
    if not counts.exists():
        return 0, 0
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, counts.read_text().split()[1:9])
    return user + nice + system + irq + soft, steal


def sleeps_alone() -> float:
    """Return the share of the ideal rate that bare sleeping threads reach, 0 to 1."""
    # A sleep lasts longer than asked for: this share is no cost of the driver.
    with ThreadPoolExecutor(WORKERS) as sleepers:
        lengths = list(sleepers.map(_sleep, [ROUNDS * PROMPTS_A_SHARD] * WORKERS))
    return WORKERS * ROUNDS * SHARD_SECONDS / sum(lengths)


def _sleep(prompts: int) -> float:
    """Sleep for the time of `prompts` prompts; return the seconds that passed."""
    started = time.perf_counter()
    for _ in range(prompts):
        time.sleep(SHARD_SECONDS / PROMPTS_A_SHARD)
    return time.perf_counter() - started


def report(settings: Settings) -> Report:
    """Run the sleeping sweep into a folder that is deleted, or into the output that is named."""
    folder = TemporaryDirectory(prefix="circuit-sweep-bench-") if settings.output is None else None
    with folder or nullcontext(settings.output) as url:
        output = Output(url)
        if output.folder.exists(SWEEP):
            raise ConfigurationError(f"--output {url} holds a sweep already: name a new folder or prefix.")
        output.claim({"synthetic": True}, RUN_KEY)
        prompts, alone, paces = settings.shards * PROMPTS_A_SHARD, [sleeps_alone()], [pace()]
        stolen_since = stolen()
        rows = [
            ("shards, prompts", f"{settings.shards:,}, {prompts:,}"),
            *_sweep(output, settings.shards),
        ]
        alone, paces = [*alone, sleeps_alone()], [*paces, pace()]
        rows += [
            *_throughput(list(output.committed()), alone),
            ("  share of the cores' busy time that the machine's host took away", stolen_since()),
            *_rerun(output, settings.shards),
            ("this machine's pace: a million squares added up, before and after", ", ".join(paces)),
        ]
    remarks = f"{WORKERS} workers that sleep {SHARD_SECONDS:g} s a shard of {PROMPTS_A_SHARD} prompts."
    return Report(("driver", ""), tuple(rows), remarks)


def _sweep(output: Output, count: int) -> Iterator[tuple[str, str]]:
    """Let the driver work."""
    work = Sleep(SHARD_SECONDS / PROMPTS_A_SHARD)
    progress, memory = Progress(Console(stderr=True), Counts(total=count * PROMPTS_A_SHARD)), Memory()
    with output.hold() as lease, progress, cluster("local", WORKERS):
        shards = memory.watch(iter(_shards(count, read_seen(output), progress.counts)))
        pool = WorkerPool(work, output.url, 60.0)
        driver = Driver(shards, output, pool, lambda: Placement(WORKERS, 1, 0), progress, lease)
        wall, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        driver.run()
        thread, process = time.thread_time() - thread, time.process_time() - process
    yield "whole run", f"{time.perf_counter() - wall:.0f} s"
    yield "driver's memory: first shard, after a tenth, last, most", str(memory)
    yield "driver's CPU a shard", f"{1000 * thread / count:.2f} ms"
    yield "  with Ray's own threads, and its start", f"{1000 * process / count:.2f} ms"


def _rerun(output: Output, count: int) -> Iterator[tuple[str, str]]:
    """Find that nothing is left."""
    started = time.perf_counter()
    known = read_seen(output)
    read = time.perf_counter()
    left = sum(1 for _ in _shards(count, known, Counts()))
    if left:
        raise RuntimeError(f"{left} shards were committed and are not found")
    yield "a rerun: reading all markers", f"{read - started:.1f} s"
    yield "a rerun: passing over all prompts", f"{time.perf_counter() - read:.1f} s"
    yield "driver's memory after that", f"{bytes_in_use() / 1e6:.0f} MB"


def _shards(count: int, seen: SeenKeys, counts: Counts) -> Shards:
    return Shards(PromptItems(_prompts(count), TracedTokens), RUN_KEY, PROMPTS_A_SHARD, seen, counts)


def _prompts(shards: int) -> Iterator[Prompt]:
    """Yield prompts of token ids, as a dataset that was tokenised beforehand has them."""
    for number in range(shards * PROMPTS_A_SHARD):
        yield Prompt(str(number), [number >> 10, number & 1023] * 8, {})


def _throughput(markers: list[Marker], alone: Sequence[float]) -> Iterator[tuple[str, str]]:
    """Compare each worker's shards, from its first to its last, with what it would do without a pause.

    The ideal knows no machine on which a sleep ends late; `alone` is what bare threads reach of it.
    """
    spans = defaultdict(list)
    for marker in markers:
        spans[marker.worker].append((marker.began.timestamp(), marker.ended.timestamp()))
    lengths, gaps = [], []
    for times in map(sorted, spans.values()):
        lengths.append(times[-1][1] - times[0][0])
        gaps += [began - traced for (_, traced), (began, _) in pairwise(times)]
    yield "workers", str(len(spans))
    reached = len(markers) * SHARD_SECONDS / sum(lengths)
    yield "throughput against ideal", f"{reached:.1%}"
    bare = ", ".join(f"{share:.1%}" for share in alone)
    yield f"  reached by {WORKERS} threads that only sleep, before and after", bare
    yield "  throughput against theirs", f"{reached / mean(alone):.1%}"
    if len(gaps) > 1:
        late = quantiles(gaps, n=100)[98]
        figures = ", ".join(f"{1000 * gap:.1f}" for gap in (median(gaps), late, max(gaps)))
        yield "pause between two shards of a worker: median, 99%, longest", f"{figures} ms"
    writing = median(marker.seconds.writing for marker in markers)
    yield "writing a shard meanwhile, median", f"{1000 * writing:.1f} ms"
