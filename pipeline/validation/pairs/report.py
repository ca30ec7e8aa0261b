"""What a sweep's pairs show: how much of the difference circuits recover, and through which features.

Intervals and tests are by cluster: the two prompts of a pair, or what the user names. Shares of circuits are
medians, with bootstraps of whole clusters. A feature's share is a mean over clusters, and its p-value comes
from flipping the signs of whole clusters: under the null hypothesis it moves the value either way as often.
Features are many, so they are held to the false discovery rate of Benjamini and Hochberg.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.aggregates import Grouping, read_groups
from pipeline.errors import ConfigurationError
from pipeline.paired_differences import FALSE_DISCOVERY_RATE, LEAST_CLUSTERS, adjusted, sign_flip_p_value
from pipeline.results import Results
from pipeline.store import SWEEP
from pipeline.validation.hypotheses import Mean, cluster_mean
from pipeline.validation.pairs.run import PairOutput
from pipeline.validation.report import Median, numbers
from pipeline.validation.statistics import median_interval

RUNS = {"held": "patterns held", "free": "patterns free"}


@dataclass(frozen=True)
class RunReport:
    """Shares of the difference that one run recovers, over the prompts of a group."""

    run: str
    circuit: Median
    """With the circuit's features at the partner's activations."""

    zero: Median
    """With them at 0."""

    more: Median
    """The first less the second, prompt by prompt."""

    everything: Median
    """With all active features at the partner's."""


@dataclass(frozen=True)
class PairGroup:
    """The prompts of one role, or another group."""

    group: str
    prompts: int
    at_stake: int
    clusters: int
    stake: float | None
    """Median difference of the value from the partner's, in logits; None where nothing is at stake."""

    runs: tuple[RunReport, ...]


@dataclass(frozen=True)
class FeatureReport:
    """A feature over the prompts on which it was patched."""

    layer: int
    feature: int
    position_from_end: int
    prompts: int
    clusters: int
    held: Mean
    """Mean share recovered with patterns held."""

    zero: float
    """The same with the feature at 0 instead."""

    free: float
    q_value: float

    @property
    def is_shown(self) -> bool:
        """True if its share is not 0, at the false discovery rate."""
        return self.q_value <= FALSE_DISCOVERY_RATE


@dataclass(frozen=True)
class PairReport:
    """A sweep's pairs."""

    groups: tuple[PairGroup, ...]
    features: tuple[FeatureReport, ...]
    """Those of enough clusters to be tested, shown ones first, the largest share in front."""

    untested: int
    """Features on too few clusters."""


def pair_report(output: PairOutput, by: str | None = None, cluster: str | None = None) -> PairReport:
    """Read the report of a sweep's pairs.

    Args:
        output: of the pairs.
        by: column of `graphs`, or an SQL expression over them, to group prompts by; by default their role.
        cluster: the same for prompts that count as one observation; by default the two of a pair.

    Raises:
        ConfigurationError: the pairs were not patched yet, or there is no such column.

    """
    output.sweep.claimed()
    if not output.folder.exists(SWEEP):
        url = output.sweep.url
        raise ConfigurationError(f"{url} has no pairs yet: run `circuit-sweep pairs {url}` first.")
    results, settings = Results(output.sweep), output.claimed().run
    column, role = (f'"{name}"' if name else None for name in (settings["column"], settings["role"]))
    by = by or (role and f"{role}::varchar")
    groups = read_groups(results.snapshot, Grouping(by, cluster=cluster or f"{column}::varchar"))
    connection = results.connection()
    connection.register("prompt_groups", groups.rows)
    pairs = connection.sql(
        "select prompt_group, cluster, pairs.* from pairs join prompt_groups using (prompt_key) "
        "order by prompt_group, prompt_key"
    ).to_arrow_table()
    effects = connection.sql(
        "select cluster, pair_effects.* from pair_effects join prompt_groups using (prompt_key) "
        "join pairs using (prompt_key) where patch = 'feature' and is_at_stake "
        "order by layer, feature, position_from_end, prompt_key"
    ).to_arrow_table()
    names = np.array(pairs["prompt_group"].to_pylist())
    found = [_group(str(name), pairs.filter(pa.array(names == name))) for name in np.unique(names)]
    if len(found) > 1:
        found.append(_group("all", pairs))
    return PairReport(tuple(found), *_features(effects))


def _group(name: str, rows: pa.Table) -> PairGroup:
    staked = rows.filter(rows["is_at_stake"])
    clusters = numbers(staked, "cluster")
    runs = []
    if staked.num_rows:
        for run in RUNS:
            circuit, zero, everything = (
                numbers(staked, f"{run}_{of}recovered") for of in ("", "zero_", "all_")
            )
            shares = (circuit, zero, circuit - zero, everything)
            medians = (Median(*median_interval(one, clusters=clusters), len(one)) for one in shares)
            runs.append(RunReport(RUNS[run], *medians))
    stake = float(np.median(numbers(staked, "stake"))) if staked.num_rows else None
    return PairGroup(name, rows.num_rows, staked.num_rows, len(np.unique(clusters)), stake, tuple(runs))


def _features(effects: pa.Table) -> tuple[tuple[FeatureReport, ...], int]:
    """Return the features that can be tested, and the number of the others."""
    if not effects.num_rows:
        return (), 0
    names = np.stack([numbers(effects, name) for name in ("layer", "feature", "position_from_end")], axis=1)
    named, starts = np.unique(names, axis=0, return_index=True)
    found, p_values, untested = [], [], 0
    for (layer, feature, position), rows in zip(
        named.astype(int).tolist(), np.split(np.arange(len(names)), np.sort(starts)[1:]), strict=True
    ):
        part = effects.take(pa.array(rows))
        clusters = np.unique(numbers(part, "cluster"), return_inverse=True)[1]
        count = int(clusters.max()) + 1
        if count < LEAST_CLUSTERS:
            untested += 1
            continue
        held = numbers(part, "held_recovered")
        p_values.append(sign_flip_p_value(np.bincount(clusters, held) / np.bincount(clusters)))
        found.append(
            FeatureReport(
                layer,
                feature,
                position,
                len(rows),
                count,
                cluster_mean(held, clusters),
                cluster_mean(numbers(part, "held_zero_recovered"), clusters).value,
                cluster_mean(numbers(part, "free_recovered"), clusters).value,
                1.0,
            )
        )
    q_values = adjusted(p_values)
    found = [
        FeatureReport(**{**vars(one), "q_value": float(q)}) for one, q in zip(found, q_values, strict=True)
    ]
    found.sort(key=lambda one: (not one.is_shown, -abs(one.held.value), one.layer, one.feature))
    return tuple(found), untested


def pair_rows(report: PairReport) -> pa.Table:
    """Return one row for each group and run."""
    rows = []
    for group in report.groups:
        about = {name: getattr(group, name) for name in ("group", "prompts", "at_stake", "clusters", "stake")}
        rows += [about | {"run": run.run} | _medians(run) for run in group.runs] or [about]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def _medians(run: RunReport) -> dict[str, float | None]:
    return {
        f"{name}_{part}": getattr(getattr(run, name), part)
        for name in ("circuit", "zero", "more", "everything")
        for part in ("value", "low", "high")
    }


def feature_rows(report: PairReport) -> pa.Table:
    """Return one row for each feature that was tested."""
    rows = [
        {
            "layer": one.layer,
            "feature": one.feature,
            "position_from_end": one.position_from_end,
            "prompts": one.prompts,
            "clusters": one.clusters,
            "held_recovered": one.held.value,
            "held_low": one.held.low,
            "held_high": one.held.high,
            "held_zero_recovered": one.zero,
            "free_recovered": one.free,
            "q_value": one.q_value,
        }
        for one in report.features
    ]
    return pa.Table.from_pylist(rows)
