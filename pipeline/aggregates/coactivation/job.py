"""Coactivation and global weights as a Ray job: two passes over the activations, then the dictionary.

1. A task a part counts single features; the driver merges them (a row a feature) and cuts the rare.
2. A task a part sums over pairs of the rest; a task a partition merges its pairs, cuts the rare, reads the
   rows of the dictionary that they need, and writes.

Torch and transformers are imported only where weights are asked for: each process waits seconds for them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.exceptions import RayTaskError

from pipeline.aggregates.coactivation.sums import merge_pairs, merge_singles, sum_pairs, sum_singles
from pipeline.aggregates.jobs import MAX_PARTITIONS
from pipeline.aggregates.parts import Part, parts
from pipeline.aggregates.result import Mined
from pipeline.aggregates.stats import Partial, as_table, read_labels
from pipeline.errors import CircuitSweepError
from pipeline.runtime import cluster
from pipeline.store import Output, Snapshot
from pipeline.store.commits import DataFile

if TYPE_CHECKING:
    from pipeline.model import ReplacementModel

PART_BYTES = 1 << 20
"""Bytes of files in a part: about 200,000 activations, whose pairs fit in memory."""


@dataclass(frozen=True)
class Pairing:
    """Which pairs to keep, and whether to weigh them."""

    min_support: int = 10
    """Positions at which both must be active."""

    weights: bool = True
    """Whether to load the model and its dictionary and add virtual weights."""

    part_bytes: int = PART_BYTES
    """Bytes of files that one task reads."""


def pair_features(url: str, settings: Pairing, address: str | None = None) -> Mined:
    """Find the features that are active together and what one does to the other there.

    Raises:
        CircuitSweepError: there is no sweep, or its model cannot be had as it was.

    """
    output = Output(url)
    output.claimed()
    snapshot = output.snapshot()
    changing = {name: value for name, value in asdict(settings).items() if name != "part_bytes"}
    mined = Mined.of(snapshot, "pairs", changing)
    if mined.exists():
        return mined
    names = _recorded_names(output) if settings.weights else None
    positions = pc.sum(read_labels(snapshot, None).rows["positions"]).as_py()
    started = time.monotonic()
    try:
        with cluster(address):
            files = _run(snapshot, settings, mined, names, positions)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, CircuitSweepError) else error from error
    mined.commit({"feature_pairs": files}, {"positions": positions, "seconds": time.monotonic() - started})
    return mined


def _recorded_names(output: Output) -> dict[str, str]:
    from pipeline.sweep import recorded_names

    return recorded_names(output)


def _run(
    snapshot: Snapshot, settings: Pairing, mined: Mined, names: dict[str, str] | None, positions: int
) -> list[DataFile]:
    todo = list(parts(snapshot, "activations", settings.part_bytes))
    partitions = max(1, min(len(todo), MAX_PARTITIONS))
    least = settings.min_support
    singles = ray.put(merge_singles(ray.get([single_task.remote(part) for part in todo]), least))
    found = [pair_task.options(num_returns=partitions).remote(part, singles, partitions) for part in todo]
    by_part = found if partitions > 1 else [[pairs] for pairs in found]
    merged = [
        weigh_task.remote(mined, names, least, positions, n, singles, *(pairs[n] for pairs in by_part))
        for n in range(partitions)
    ]
    return ray.get(merged)


@ray.remote(num_cpus=1)
def single_task(part: Part) -> pa.Table:
    """Count one part's features."""
    return sum_singles(part)


@ray.remote(num_cpus=1)
def pair_task(part: Part, singles: pa.Table, partitions: int) -> Any:
    """Sum over one part's pairs; one partial for each partition."""
    found = sum_pairs(part, singles, partitions)
    return found if partitions > 1 else found[0]


@ray.remote(num_cpus=1)
def weigh_task(
    mined: Mined,
    names: dict[str, str] | None,
    least: int,
    positions: int,
    number: int,
    singles: pa.Table,
    *partials: Partial,
) -> DataFile:
    """Merge, weigh and write a partition of the pairs."""
    pairs = merge_pairs(partials, singles, least, positions)
    if names is None:
        nothing = pa.nulls(pairs.num_rows, pa.float64())
        pairs = pairs.append_column("virtual_weight", nothing).append_column("twera", nothing)
    else:
        from pipeline.aggregates.coactivation.virtual_weights import weigh_pairs

        pairs = weigh_pairs(pairs, _model(names["model"], names["transcoders"]))
    return mined.write("feature_pairs", as_table("feature_pairs", pairs), number)


@lru_cache(1)
def _model(name: str, transcoders: str) -> ReplacementModel:
    """Load once a process; on the CPU, where only a few rows of each matrix are touched."""
    from pipeline.model import ReplacementModel

    return ReplacementModel.from_pretrained(name, transcoders, device="cpu", lazy_encoder=True)
