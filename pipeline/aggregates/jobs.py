"""`pipeline.mining` as a Ray job: parts in, partitions out, and one pass over all p-values in between.

1. A task a part sums its rows by key and cuts the sums into partitions.
2. A task a partition merges what all parts have for it, writes its statistics, and tests its items.
3. The driver adjusts all p-values together (8 bytes a test are all it holds), and each partition writes its
   discoveries.
Partial sums wait in Ray's object store, which spills to disk. Tasks depend on their arguments only, so Ray
runs them again where a machine goes away; what a first try wrote is not in the manifest and does not count.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import RayTaskError

from pipeline.aggregates.parts import PART_BYTES, Part, parts
from pipeline.aggregates.result import Mined
from pipeline.aggregates.stats import (
    SUMS,
    Labels,
    Partial,
    adjusted,
    as_table,
    enrichment,
    merge_edges,
    merge_features,
    partial,
    read_labels,
)
from pipeline.errors import CircuitSweepError
from pipeline.runtime import cluster
from pipeline.store import Output, Snapshot
from pipeline.store.commits import DataFile

MAX_PARTITIONS = 256

KINDS = {"feature": "prompts_active", "edge": "support"}
"""What is tested, and the column that counts prompts."""


@dataclass(frozen=True)
class Aggregation:
    """What to aggregate, and how."""

    by: str | None = None
    """Column of `graphs` that groups the prompts."""

    fdr: float = 0.05
    """False discovery rate of what counts as tied to a group."""

    min_support: int = 5
    """Prompts that a feature or an edge must be on to be tested."""

    shuffle: int | None = None
    """Seed of a shuffle of the labels."""

    part_bytes: int = PART_BYTES
    """Bytes of files that one task reads."""


def aggregate(url: str, settings: Aggregation, address: str | None = None) -> Mined:
    """Aggregate a sweep by group and test what is tied to a group; what is there already is returned.

    Raises:
        CircuitSweepError: there is no sweep, no such column, or the result cannot be written.

    """
    output = Output(url)
    output.claimed()
    snapshot = output.snapshot()
    changing = {name: value for name, value in asdict(settings).items() if name != "part_bytes"}
    result = Mined.of(snapshot, _name(settings), changing)
    if result.exists():
        return result
    labels = read_labels(snapshot, settings.by)
    if settings.shuffle is not None:
        labels = labels.shuffled(settings.shuffle)
    started = time.monotonic()
    try:
        with cluster(address):
            files, tests = _run(snapshot, labels, settings, result)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, CircuitSweepError) else error from error
    info = {"groups": labels.sizes, "left_out": labels.left_out, "tests": tests}
    result.commit(files, info | {"seconds": time.monotonic() - started})
    return result


def _name(settings: Aggregation) -> str:
    by = "".join(c if c.isalnum() or c in "_-" else "_" for c in settings.by or "all")
    return by if settings.shuffle is None else f"{by}-shuffled"


def _run(
    snapshot: Snapshot, labels: Labels, settings: Aggregation, result: Mined
) -> tuple[dict[str, list[DataFile]], dict[str, int]]:
    todo = [part for table in SUMS for part in parts(snapshot, table, settings.part_bytes)]
    partitions = max(1, min(len(todo) // len(SUMS), MAX_PARTITIONS))
    rows = ray.put(labels.rows)
    by_part = {table: [_sum(p, rows, partitions) for p in todo if p.table == table] for table in SUMS}
    features = [*by_part["activations"], *by_part["nodes"]]
    sources = {"feature": features, "edge": by_part["edges"]}
    files: dict[str, list[DataFile]] = {}
    tests: dict[str, int] = {}
    for kind, partials in sources.items():
        merged = [
            merge_task.options(num_returns=3).remote(
                kind, result, labels.sizes, settings.min_support, n, *(partial[n] for partial in partials)
            )
            for n in range(partitions if partials else 0)
        ]
        files[f"{kind}_stats"] = ray.get([file for file, _, _ in merged])
        p_values = ray.get([p for _, p, _ in merged])
        q_values = adjusted(np.concatenate(p_values)) if p_values else np.empty(0)
        tests[kind] = len(q_values)
        cuts = np.split(q_values, np.cumsum([len(p) for p in p_values])[:-1])
        discoveries = [
            discover_task.remote(kind, result, settings.fdr, n, table, cut)
            for n, ((_, _, table), cut) in enumerate(zip(merged, cuts, strict=True))
        ]
        files[f"{kind}_enrichment"] = ray.get(discoveries)
    return files, tests


def _sum(part: Part, labels: ray.ObjectRef, partitions: int) -> list[ray.ObjectRef]:
    found = sum_task.options(num_returns=partitions).remote(part, labels, partitions)
    return found if partitions > 1 else [found]


@ray.remote(num_cpus=1)
def sum_task(part: Part, labels: pa.Table, partitions: int) -> Any:
    """Sum one part; one partial for each partition."""
    found = partial(part, labels, partitions)
    return found if partitions > 1 else found[0]


@ray.remote(num_cpus=1)
def merge_task(
    kind: str, result: Mined, sizes: dict[str, int], min_support: int, number: int, *partials: Partial
) -> tuple[DataFile, np.ndarray, pa.Table]:
    """Merge a partition, write its statistics; return the file, the p-values and the tests."""
    stats = (merge_features if kind == "feature" else merge_edges)(partials)
    tests = enrichment(stats, KINDS[kind], sizes, min_support)
    return result.write(f"{kind}_stats", stats, number), tests["p_value"].to_numpy(), tests


@ray.remote(num_cpus=1)
def discover_task(
    kind: str, result: Mined, fdr: float, number: int, tests: pa.Table, q_values: np.ndarray
) -> DataFile:
    """Write what a partition's tests have found at the rate asked for."""
    tests = tests.append_column("q_value", pa.array(q_values))
    found = tests.filter(pa.array(q_values <= fdr)).sort_by("q_value")
    return result.write(f"{kind}_enrichment", as_table(f"{kind}_enrichment", found), number)
