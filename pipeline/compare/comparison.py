"""Two sweeps compared: the tables, and the figures of the report."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compare.circuits import compare_circuits
from pipeline.compare.diff import differences, noise_floor
from pipeline.compare.matching import Match
from pipeline.compare.shared_features import match_sweeps
from pipeline.compare.sweep_pair import PairedSweep, SweepPair, open_pair
from pipeline.errors import ConfigurationError
from pipeline.store import open_folder
from pipeline.store.rows import encode
from schemas import DIFF_TABLES

CHANGES = [f"{what}_{change}" for what in ("features", "edges") for change in ("gained", "lost", "changed")]

DICTIONARIES = b"dictionaries"
"""Metadata of the tables' files: the fingerprints of A's and B's dictionaries, as JSON."""

SIDES = {
    "replacement_score": "replacement",
    "completeness_score": "completeness",
    "nodes": "nodes of the pruned graph",
    "edges": "edges of the pruned graph",
    "path_length": "path length",
    "probability": "probability of the first target",
    "correct": "own prediction is a right answer",
}


@dataclass(frozen=True)
class Comparison:
    """Differences between two sweeps."""

    pair: SweepPair

    tables: dict[str, pa.Table]
    """Rows of the tables `diff_*`."""

    floor: float | None
    """The noise floor; None with different dictionaries."""

    match: Match | None
    """Match of the features; None with the same dictionary."""

    min_correlation: float

    seed_shares: tuple[float, ...] = ()
    """Share of A's features that further trainings of its recipe match, with other seeds."""

    @property
    def prompts(self) -> pa.Table:
        """Rows of `diff_prompts`."""
        return self.tables["diff_prompts"]

    @property
    def differences(self) -> list[str]:
        """Reasons why A and B are not the same, in words; none are looked for with different dictionaries."""
        if self.match is not None:
            return []
        counts = {name: self.tables[f"diff_{name}"].num_rows for name in ("features", "edges")}
        found = [f"{count:,} {name} differ beyond the noise floor" for name, count in counts.items() if count]
        missing = self.pair.only_a
        return [*found, *([f"{missing:,} prompts of A are not in B"] if missing else [])]

    @property
    def differs(self) -> bool:
        """True if the same dictionary gave other graphs, or prompts of A are missing."""
        return bool(self.differences)

    @cached_property
    def other_targets(self) -> int:
        """Prompts whose first target differs."""
        a, b = (self.prompts[f"target_{side}"].to_pylist() for side in "ab")
        return sum(x.strip() != y.strip() for x, y in zip(a, b, strict=True))

    @cached_property
    def not_judged(self) -> tuple[int, int]:
        """Prompts of A and of B that have no verdict on their prediction, where any of them has one."""
        columns = [self.prompts[f"correct_{side}"] for side in "ab"]
        return tuple(0 if each.null_count == len(each) else each.null_count for each in columns)

    def sides(self) -> list[tuple[str, float | None, float | None]]:
        """Return the measures to show side by side: the name of each, and its mean in A and in B."""
        means = []
        for column, name in SIDES.items():
            pair = [pc.mean(self.prompts[f"{column}_{side}"].cast(pa.float64())).as_py() for side in "ab"]
            if any(value is not None for value in pair):
                means.append((name, *pair))
        return means

    def by_group(self) -> list[tuple]:
        """Return each group with its prompts and the six counts of changes, most changes first."""
        sums = self.prompts.group_by("prompt_group").aggregate(
            [("id", "count"), *((c, "sum") for c in CHANGES)]
        )
        names = ["prompt_group", "id_count", *(f"{column}_sum" for column in CHANGES)]
        rows = [tuple(row[name] for name in names) for row in sums.to_pylist()]
        return sorted(rows, key=lambda row: (-sum(row[2:]), row[0]))

    def top_features(self, count: int) -> list[tuple]:
        """Return the features that differ on most prompts.

        A row holds layer, feature, the prompts where it is gained, lost and changed, and the mean change of
        its influence.
        """
        self.pair.connection.register("diff_features", self.tables["diff_features"])
        rows = self.pair.sql(
            "select layer, feature, count(*) filter (where change = 'gained') as gained, "
            "count(*) filter (where change = 'lost') as lost, "
            "count(*) filter (where change = 'changed') as changed, "
            "avg(coalesce(influence_b, 0) - coalesce(influence_a, 0)) as difference "
            "from diff_features group by all order by count(distinct id) desc, layer, feature limit $count",
            count=count,
        )
        return [tuple(row.values()) for row in rows.to_pylist()]

    def match_quartiles(self) -> tuple[float, float, float]:
        """Return the quartiles of the matched pairs' correlations; NaN where nothing matched."""
        matched = self.match.rows.filter(self.match.rows["matched"])["correlation"].to_numpy()
        return tuple(np.percentile(matched, [25, 50, 75])) if len(matched) else (np.nan,) * 3

    def median_cosine(self) -> float | None:
        """Return the median cosine of the matched pairs' decoders; None where it was not measured."""
        matched = self.match.rows.filter(self.match.rows["matched"])["decoder_cosine"].drop_null().to_numpy()
        return float(np.median(matched)) if len(matched) else None

    def circuits_by_group(self) -> list[tuple[str, int, float, float, float]]:
        """Return each group: prompts, mean shares of influence (shared, unmatched, new), by the first."""
        shares = ["shared_influence", "unmatched_influence", "new_influence"]
        rows = self.tables["diff_circuits"].group_by("prompt_group")
        means = rows.aggregate([("id", "count"), *((name, "mean") for name in shares)]).to_pylist()
        names = ["prompt_group", "id_count", *(f"{name}_mean" for name in shares)]
        return sorted(
            (tuple(row[name] for name in names) for row in means), key=lambda row: (-row[2], row[0])
        )

    def circuit_means(self) -> dict[str, float]:
        """Return the mean over prompts of each number in `diff_circuits`."""
        rows = self.tables["diff_circuits"]
        return {
            name: pc.mean(rows[name]).as_py()
            for name in rows.column_names
            if name not in ("id", "prompt_group")
        }


def compare(
    a: PairedSweep,
    b: PairedSweep,
    by: str | None = None,
    answer: str | None = "answer",
    floor: float | None = None,
    repeats: list[PairedSweep] | None = None,
    min_correlation: float = 0.5,
    run_model: bool = True,
) -> Comparison:
    """Compare two sweeps, by index where the dictionary is the same, else through a match.

    Args:
        a: the first sweep.
        b: the second.
        by: column of A's `graphs`, or an SQL expression over them, that groups the prompts.
        answer: column of `graphs` with the right answer, or a list of several, if a sweep has it.
        floor: share of a prompt's largest number below which a difference is noise; None finds it.
        repeats: further runs of A, whose differences measure the noise floor; of different dictionaries
            further trainings of A's recipe with other seeds, whose matches are the noise level of a match.
        min_correlation: least correlation of matched features of different dictionaries.
        run_model: load B's model and run it on the shared prompts with random dictionaries, as a control of
            the match of different dictionaries.

    Raises:
        StoreError: one of them is no sweep, or they share no prompt.
        ConfigurationError: the prompts cannot be grouped so, or the noise floor is not known.

    """
    pair = open_pair(a, b, by)
    if pair.same_dictionary and pair.aligned:
        floor = noise_floor(pair, floor, repeats or [])
        tables, match, shares = differences(pair, floor), None, ()
    else:
        shares = tuple(_seed_share(a, repeat, min_correlation, run_model) for repeat in repeats or [])
        floor, match = None, match_sweeps(pair, min_correlation, run_model)
        tables = {"diff_matches": match.rows, "diff_circuits": compare_circuits(pair, match)}
    prompts = _with_counts(pair.described(answer), tables)
    return Comparison(pair, {"diff_prompts": prompts, **tables}, floor, match, min_correlation, shares)


def _seed_share(a: PairedSweep, repeat: PairedSweep, min_correlation: float, run_model: bool) -> float:
    """Return the share of A's features that another training of its recipe matches.

    Raises:
        ConfigurationError: it was traced with another model, or with A's own dictionary.

    """
    pair = open_pair(a, repeat)
    if pair.same_dictionary or not pair.same_model:
        what = "has A's own dictionary" if pair.same_dictionary else "is of another model than A"
        raise ConfigurationError(
            f"--repeat {repeat.output.url} {what}: where A and B have different dictionaries, a repeat is a "
            "sweep of A's model with a dictionary of A's recipe, trained with another seed."
        )
    return match_sweeps(pair, min_correlation, run_model).matched_share


def write_tables(comparison: Comparison, url: str) -> None:
    """Write the tables as one Parquet file each."""
    folder = open_folder(url)
    dictionaries = json.dumps([comparison.pair.a.dictionary, comparison.pair.b.dictionary])
    for name, rows in comparison.tables.items():
        rows = rows.replace_schema_metadata({DICTIONARIES: dictionaries})
        folder.replace(f"{name}.parquet", encode(DIFF_TABLES[name], rows).to_pybytes())


def _with_counts(prompts: pa.Table, tables: dict[str, pa.Table]) -> pa.Table:
    """Add to each prompt how many of its features and edges differ."""
    ids = prompts["id"].to_pylist()
    for what in ("features", "edges"):
        rows = tables.get(f"diff_{what}")
        changes = [] if rows is None else zip(rows["id"].to_pylist(), rows["change"].to_pylist(), strict=True)
        counted = Counter(changes)
        for change in ("gained", "lost", "changed"):
            column = pa.array([counted[id, change] for id in ids], pa.int64())
            prompts = prompts.append_column(f"{what}_{change}", column)
    schema = DIFF_TABLES["diff_prompts"].schema
    return prompts.select(schema.names).cast(schema)
