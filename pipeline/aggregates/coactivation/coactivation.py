"""Coactivation and global weights: two passes over the activations, then the dictionary.

1. A task for each part counts single features; the driver merges them (a row a feature) and cuts the rare.
2. A task for each part sums over pairs of the rest; a task for each partition merges its pairs, cuts the
   rare, reads the rows of the dictionary that they need, and writes.

Torch and transformers are imported only where weights are asked for: each process waits seconds for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.aggregates.aggregate import MAX_PARTITIONS, Aggregate, Computed
from pipeline.aggregates.coactivation.sums import merge_pairs, merge_singles, sum_pairs, sum_singles
from pipeline.aggregates.groups import read_groups
from pipeline.aggregates.stats import Sums
from pipeline.store import AggregateResult, DataFile, Output, PairsInfo, Snapshot, table_parts

if TYPE_CHECKING:
    from pipeline.aggregates.tasks import Tasks
    from pipeline.model import ReplacementModel
    from pipeline.sweep_model import SweepModel


@dataclass(frozen=True)
class Coactivation(Aggregate):
    """Pairs of features to keep, weighed or not."""

    min_support: int = 10
    """Positions at which both must be active."""

    find_model: Callable[[Output], SweepModel] | None = None
    """Function that finds the model of a sweep, for virtual weights; None leaves these out."""

    part_bytes: int = field(default=1 << 20, kw_only=True)
    """Bytes of files that one task reads: about 200,000 activations, whose pairs fit in memory."""

    @property
    def name(self) -> str:
        """Beginning of the result's name: `pairs`."""
        return "pairs"

    def identity(self) -> dict[str, Any]:
        """Return what decides the pairs, and if there are weights; the model is the sweep's own."""
        weights = {"min_support": self.min_support, "weights": self.find_model is not None}
        return self.grouping.identity | weights

    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Tasks) -> Computed:
        """Count, pair, merge, weigh and write."""
        used = None if self.find_model is None else self.find_model(Output(result.url))
        prompts = read_groups(snapshot, self.grouping).rows
        zero_positions = Output(result.url).claimed().run.get("zero_positions", 1)
        positions = featured_positions(prompts["positions"], zero_positions)
        chosen = None if self.grouping.where is None else tasks.share(prompts.select(["prompt_key"]))
        todo = list(table_parts(snapshot, "activations", self.part_bytes))
        partitions = max(1, min(len(todo), MAX_PARTITIONS))
        counted = tasks.get([tasks.call(sum_singles, part, chosen) for part in todo])
        # Waits for the first pass: only features above the cut are paired, or pairs would be too many.
        singles = tasks.share(merge_singles(counted, self.min_support))
        sums = [tasks.call_for(partitions, sum_pairs, part, chosen, singles, partitions) for part in todo]
        written = [
            tasks.call(
                _weigh, result, used, self.min_support, positions, n, singles, *(pairs[n] for pairs in sums)
            )
            for n in range(partitions)
        ]
        return {"feature_pairs": tasks.get(written)}, PairsInfo(positions=positions)


def featured_positions(positions: pa.ChunkedArray, zero_positions: int) -> int:
    """Return the positions of prompts of these lengths that can carry features: all but the first few.

    Counted in, they would make independent features look as if they sought each other.
    """
    return pc.sum(pc.max_element_wise(pc.subtract(positions, zero_positions), 0)).as_py()


def _weigh(
    result: AggregateResult,
    used: SweepModel | None,
    least: int,
    positions: int,
    number: int,
    singles: pa.Table,
    *sums: Sums,
) -> DataFile:
    """Merge, weigh and write a partition of the pairs."""
    pairs = merge_pairs(sums, singles, least, positions)
    if used is None:
        nothing = pa.nulls(pairs.num_rows, pa.float64())
        pairs = pairs.append_column("virtual_weight", nothing).append_column("twera", nothing)
    else:
        from pipeline.aggregates.coactivation.virtual_weights import weigh_pairs

        pairs = weigh_pairs(pairs, _load(used))
    return result.write("feature_pairs", pairs, number)


@lru_cache(1)
def _load(used: SweepModel) -> ReplacementModel:
    """Load once a process; on the CPU, where only a few rows of each matrix are touched."""
    return used.load("cpu", lazy_encoder=True)
