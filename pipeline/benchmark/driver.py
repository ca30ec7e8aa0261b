"""What the driver costs: a million prompts through the real driver, with an engine that only sleeps.

10,000 shards of 100 prompts, 16 workers. Driver, Ray actors, shards and commits are the real ones; the tables
are a row a prompt. A shard sleeps a second, so that two cores bear the commits of 16 workers (about 20 ms of
CPU a shard, with Ray's own): the whole takes eleven minutes. Then the sweep is asked what is left of it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import pyarrow as pa
from rich.console import Console

from pipeline.benchmark.report import Report, Settings
from pipeline.store import Marker, Output
from pipeline.sweep.cluster import cluster
from pipeline.sweep.driver import Driver
from pipeline.sweep.fleet import Fleet
from pipeline.sweep.placement import Placement
from pipeline.sweep.progress import Progress
from pipeline.sweep.prompts import Prompt
from pipeline.sweep.shards import Shard, ShardPrompt, Shards, committed_keys
from pipeline.sweep.worker import Tables, Worker
from schemas import TABLES

WORKERS, PROMPTS_A_SHARD, SHARD_SECONDS = 16, 100, 1.0
TOKENS = 16
RUN_KEY = 0


@dataclass(frozen=True)
class SleeperConfig:
    """What a sleeper needs to know."""

    output: str
    prompt_seconds: float

    @property
    def kind(self) -> type[Worker]:
        """The class that does the work."""
        return Sleeper


class Sleeper(Worker):
    """Sleeps instead of tracing."""

    config: SleeperConfig

    def _load(self) -> None:
        self.output = Output(self.config.output)

    def _trace(self, prompt: ShardPrompt, run_key: int, seconds: Counter[str]) -> Tables:
        time.sleep(self.config.prompt_seconds)
        key = pa.array([prompt.prompt_key], pa.int64())
        return {"graphs": self._row.set_column(0, self._row.schema.field("prompt_key"), key)}

    @cached_property
    def _row(self) -> pa.Table:
        """A row of `graphs` that says nothing."""
        empty = {"string": "", "int64": 0, "int32": 0, "double": 0.0, "timestamp[us, tz=UTC]": 0}
        schema = TABLES["graphs"].schema
        values = {field.name: empty.get(str(field.type), []) for field in schema}
        return pa.Table.from_pylist([values], schema).select(
            ["prompt_key", *(name for name in schema.names if name != "prompt_key")]
        )


class Memory:
    """Resident memory of this process, looked at with every shard that is made."""

    def __init__(self) -> None:
        self.first = self.last = self.peak = resident_bytes()

    def watch(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        """Yield the shards."""
        for shard in shards:
            self.last = resident_bytes()
            self.peak = max(self.peak, self.last)
            yield shard


def resident_bytes() -> int:
    """Return the bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def report(settings: Settings) -> Report:
    """Run the sleeping sweep into a folder that is deleted, or into the output that is named."""
    folder = TemporaryDirectory(prefix="circuit-sweep-bench-") if settings.output is None else None
    with folder or nullcontext(settings.output) as url:
        output = Output(url)
        output.claim({"synthetic": True}, RUN_KEY)
        memory = Memory()
        wall, cpu = _sweep(output, settings.shards, memory)
        markers = list(output.committed())
        rows = [
            ("shards, prompts", f"{settings.shards:,}, {settings.shards * PROMPTS_A_SHARD:,}"),
            ("whole run", f"{wall:.0f} s"),
            ("driver's memory: first shard, last shard, peak", _megabytes(memory)),
            ("driver's CPU a shard", f"{1000 * cpu / settings.shards:.2f} ms"),
            *_throughput(markers),
        ]
        del markers
        started = time.perf_counter()
        left = sum(1 for _ in _shards(settings.shards, output))
        rows.append(("finding that nothing is left", f"{time.perf_counter() - started:.1f} s"))
        rows.append(("driver's memory after that", f"{resident_bytes() / 1e6:.0f} MB"))
    if left:
        raise RuntimeError(f"{left} shards were done and are not found")
    remarks = f"{WORKERS} workers that sleep {SHARD_SECONDS:g} s a shard of {PROMPTS_A_SHARD} prompts."
    return Report(("driver", ""), tuple(rows), remarks)


def _sweep(output: Output, count: int, memory: Memory) -> tuple[float, float]:
    """Let the driver work; return the seconds that it took, and those of its own processor time."""
    config = SleeperConfig(output.url, SHARD_SECONDS / PROMPTS_A_SHARD)
    progress = Progress(Console(stderr=True), total=count * PROMPTS_A_SHARD)
    with progress, cluster("local", WORKERS):
        shards = memory.watch(iter(_shards(count, output)))
        driver = Driver(shards, output, Fleet(config, 60.0), lambda: Placement(WORKERS, 1, 0), progress)
        started, processor = time.perf_counter(), time.process_time()
        driver.run()
        return time.perf_counter() - started, time.process_time() - processor


def _shards(count: int, output: Output) -> Shards:
    done, failed = committed_keys(output)
    return Shards(_prompts(count), _tokenize, RUN_KEY, PROMPTS_A_SHARD, None, done, failed)


def _prompts(shards: int) -> Iterator[Prompt]:
    for number in range(shards * PROMPTS_A_SHARD):
        yield Prompt(str(number), str(number), {})


def _tokenize(text: str) -> list[int]:
    """Return ids that no other number has."""
    number = int(text)
    return [(number >> 4 * place) % 16 for place in range(TOKENS)]


def _throughput(markers: list[Marker]) -> Iterator[tuple[str, str]]:
    """Compare each worker's shards, from its first to its last, with what it would do without a pause."""
    spans = defaultdict(list)
    for marker in markers:
        spans[marker.info["worker"]].append((marker.info["began"], marker.info["traced"]))
    lengths, gaps = [], []
    for times in map(sorted, spans.values()):
        lengths.append(times[-1][1] - times[0][0])
        gaps += [began - traced for (_, traced), (began, _) in pairwise(times)]
    yield "workers", str(len(spans))
    yield "throughput against ideal", f"{len(markers) * SHARD_SECONDS / sum(lengths):.1%}"
    if len(gaps) > 1:
        late = quantiles(gaps, n=100)[98]
        figures = ", ".join(f"{1000 * gap:.1f}" for gap in (median(gaps), late, max(gaps)))
        yield "pause between two shards of a worker: median, 99%, longest", f"{figures} ms"
    writing = median(marker.seconds["writing"] for marker in markers)
    yield "writing a shard meanwhile, median", f"{1000 * writing:.1f} ms"


def _megabytes(memory: Memory) -> str:
    return ", ".join(f"{size / 1e6:.0f}" for size in (memory.first, memory.last, memory.peak)) + " MB"
