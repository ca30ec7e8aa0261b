"""Medians of a validation over each group of prompts, and differences from what circuits are compared with.

Differences are paired: a circuit's share less that of its own competitor, graph by graph. Intervals are
bootstraps over clusters of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from pipeline.validation.report.measures import COMPETITORS, MEASURES, RANKS, SIMPLER, Measure
from pipeline.validation.report.reading import is_necessary, numbers
from pipeline.validation.statistics import median_interval


@dataclass(frozen=True)
class Median:
    """A median with its 95% bootstrap interval, over the graphs where the measure exists."""

    value: float
    low: float | None
    high: float | None
    """None where all graphs are of one cluster."""

    count: int

    @property
    def is_above_zero(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high is not None and self.high < 0


@dataclass(frozen=True)
class Compared:
    """A competitor of the circuits."""

    median: Median | None
    difference: Median | None
    """Median over graphs of the circuit's share less the competitor's."""


@dataclass(frozen=True)
class Measured:
    """One measure over a group."""

    measure: Measure

    circuits: Median | None
    """Median over the circuits; None where no graph at stake has the measure."""

    competitors: dict[str, Compared]
    """By the keys of `COMPETITORS`; empty for ranks."""


@dataclass(frozen=True)
class Gain:
    """What influence adds to a simpler ranking of the same features."""

    name: str
    difference: Median | None
    """Median over graphs of `spearman` less that of the simpler ranking."""

    partial: Median | None
    """Median over graphs of the partial correlation given the simpler ranking."""

    @property
    def is_shown(self) -> bool:
        """True if influence ranks ablations better."""
        return self.difference is not None and self.difference.is_above_zero


@dataclass(frozen=True)
class GroupReport:
    """One group of prompts."""

    group: str
    graphs: int
    at_stake: int
    """Graphs whose features decide something of what is explained; all else is about these."""

    necessary: float | None
    """Share of the graphs at stake whose circuit is necessary at `LEVEL`; None if there are none."""

    measured: tuple[Measured, ...]
    """In the order of `MEASURES`."""

    ranks: tuple[Measured, ...]
    """In the order of `RANKS`."""

    gains: tuple[Gain, ...]
    """In the order of `SIMPLER`."""

    null_size_ratio: float | None
    """Median over graphs of what matched sets write, over what their circuit does."""


def group_reports(faithfulness: pa.Table, whole_groups: bool = True) -> list[GroupReport]:
    """Sum up each group, and where there are several, all of them together.

    Args:
        faithfulness: as `read_faithfulness` gives it.
        whole_groups: let each group be one cluster in the sum over all: its prompts say much the same.

    """
    names = np.array(faithfulness["prompt_group"].to_pylist())
    found = [_report(str(name), faithfulness.filter(pa.array(names == name))) for name in np.unique(names)]
    if len(found) < 2:
        return found
    if not whole_groups:
        return [*found, _report("all", faithfulness)]
    groups = pa.array(np.unique(names, return_inverse=True)[1])
    return [*found, _report("all", faithfulness.drop_columns("cluster").append_column("cluster", groups))]


def _report(group: str, rows: pa.Table) -> GroupReport:
    staked = rows.filter(rows["is_at_stake"])
    return GroupReport(
        group,
        rows.num_rows,
        staked.num_rows,
        float(is_necessary(staked).mean()) if staked.num_rows else None,
        tuple(_measured(staked, measure, COMPETITORS) for measure in MEASURES),
        tuple(_measured(staked, measure, {}) for measure in RANKS),
        _gains(staked),
        float(np.median(numbers(staked, "null_size_ratio"))) if staked.num_rows else None,
    )


def _measured(rows: pa.Table, measure: Measure, competitors: dict[str, str]) -> Measured:
    own = numbers(rows, measure.column)
    compared = {}
    for end in competitors:
        theirs = numbers(rows, f"{measure.column}_{end}")
        compared[end] = Compared(_median(rows, theirs), _median(rows, own - theirs))
    return Measured(measure, _median(rows, own), compared)


def _gains(rows: pa.Table) -> tuple[Gain, ...]:
    influence = numbers(rows, "spearman")
    return tuple(
        Gain(
            name,
            _median(rows, influence - numbers(rows, f"spearman_{column}")),
            _median(rows, numbers(rows, f"spearman_beside_{column}")),
        )
        for column, name in SIMPLER.items()
    )


def _median(rows: pa.Table, values: Float[np.ndarray, " n"]) -> Median | None:
    there = ~np.isnan(values)
    if not there.any():
        return None
    clusters = numbers(rows, "cluster")[there]
    return Median(*median_interval(values[there], clusters=clusters), int(there.sum()))
