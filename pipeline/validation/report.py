"""Medians of a validation over each group of prompts, and where attribution and causation disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.stats import false_discovery_control

from pipeline.aggregates import Grouping, read_groups
from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.store import SWEEP
from pipeline.validation.output import ValidationOutput
from pipeline.validation.statistics import median_interval


@dataclass(frozen=True)
class Measure:
    """A line of the report."""

    name: str

    column: str
    """Column of `faithfulness`."""

    chance: str | None
    """Column with the same of the circuit's random sets, where it has any."""

    meaning: str

    @property
    def by_norm(self) -> str | None:
        """Column with the same of as many features that write most, where there are random sets."""
        return None if self.chance is None else f"{self.column}_by_norm"


MEASURES = (
    Measure(
        "ablation rho",
        "spearman",
        None,
        "rank correlation of a feature's influence in the graph and the effect of ablating it",
    ),
    Measure(
        "knock-on rho",
        "knock_on_spearman",
        None,
        "rank correlation of predicted and observed changes of later features, through live layers",
    ),
    Measure(
        "necessity",
        "necessity",
        "necessity_null",
        "share of what is at stake that the model loses when the circuit is ablated",
    ),
    Measure(
        "sufficiency",
        "sufficiency",
        "sufficiency_null",
        "share that is left when all active features but the circuit are ablated",
    ),
    Measure(
        "R: ablation rho",
        "replacement_spearman",
        None,
        "in the replacement run, where the dictionary stands in for the MLPs",
    ),
    Measure(
        "R: necessity",
        "replacement_necessity",
        "replacement_necessity_null",
        "share of what is at stake that the graph's computation loses",
    ),
    Measure(
        "R: sufficiency",
        "replacement_sufficiency",
        "replacement_sufficiency_null",
        "share of it that the circuit carries by itself, errors kept",
    ),
    Measure(
        "R: without errors",
        "replacement_sufficiency_without_errors",
        "replacement_sufficiency_without_errors_null",
        "the same with the error nodes ablated too",
    ),
)

SIMPLER = {
    "write_norm": "write norm",
    "late_write_norm": "late write norm",
    "direct_edge": "direct edge",
    "gradient": "gradient",
}
"""Simpler rankings of single features, by the end of their columns' names."""

HIGH = 0.9
"""Completeness from which a graph claims to explain its answer."""

LEVEL = 0.05
"""Share of false ones among the circuits that are called necessary, at most (Benjamini and Hochberg, over all
graphs at stake; a graph's p-value is its rank among its random sets, itself counted)."""


@dataclass(frozen=True)
class Median:
    """A median with its 95% bootstrap interval, over the graphs where the measure exists."""

    value: float
    low: float | None
    high: float | None
    """None where all graphs are of one cluster."""

    count: int


@dataclass(frozen=True)
class MeasuredMedian:
    """One measure over a group."""

    measure: Measure

    circuits: Median | None
    """Median over the circuits; None where no graph at stake has the measure."""

    chance: Median | None
    """Median over the medians of their random sets."""

    by_norm: Median | None
    """Median over as many features that write most: a competitor that needs no graph."""


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
        """True if influence ranks ablations better: the whole interval is above 0."""
        return self.difference is not None and self.difference.low is not None and self.difference.low > 0


@dataclass(frozen=True)
class GroupReport:
    """One group of prompts."""

    group: str
    graphs: int
    at_stake: int
    """Graphs whose features decide something of what is explained; all else is about these."""

    necessary: float | None
    """Share of the graphs at stake whose circuit is necessary at `LEVEL`; None if there are none."""

    medians: tuple[MeasuredMedian, ...]
    """In the order of `MEASURES`."""

    gains: tuple[Gain, ...]
    """In the order of `SIMPLER`."""


@dataclass(frozen=True)
class Disagreement:
    """A graph that is nearly complete, but whose circuit does not matter more than chance."""

    id: str
    text: str
    completeness_score: float
    necessity: float
    rank: int
    draws: int


def read_faithfulness(output: ValidationOutput, by: str | None, cluster: str | None = None) -> pa.Table:
    """Read `faithfulness` with each graph's completeness, text, group, cluster and `necessity_q`.

    Args:
        output: the validation.
        by: column of `graphs`, or an SQL expression over them; by default `family` where the sweep has it.
        cluster: the same for prompts that count as one observation; by default those of the same tokens.

    Raises:
        ConfigurationError: the sweep was not validated yet, or there is no such column.

    """
    output.sweep.claimed()
    if not output.folder.exists(SWEEP):
        url = output.sweep.url
        raise ConfigurationError(f"{url} is not validated yet: run `circuit-sweep validate {url}` first.")
    results = Results(output.sweep)
    if by is None and "family" in results.snapshot.schemas["graphs"].names:
        by = "coalesce(family::varchar, 'none')"
    groups = read_groups(results.snapshot, Grouping(by, cluster=cluster))
    connection = results.connection()
    connection.register("prompt_groups", groups.rows)
    found = connection.sql(
        "select coalesce(prompt_groups.prompt_group, 'none') as prompt_group, prompt_groups.cluster, text, "
        "completeness_score, faithfulness.* "
        "from faithfulness join graphs using (prompt_key) left join prompt_groups using (prompt_key) "
        "order by prompt_group, prompt_key"
    ).to_arrow_table()
    return found.append_column("necessity_q", pa.array(necessity_q_values(found), pa.float64()))


def necessity_q_values(faithfulness: pa.Table) -> Float[np.ndarray, " n"]:
    """Return each graph's q-value of necessity, over all graphs at stake; 1 for the others."""
    staked = faithfulness["is_at_stake"].to_numpy(zero_copy_only=False).astype(bool)
    p_values = _numbers(faithfulness, "necessity_rank") / (_numbers(faithfulness, "draws") + 1)
    found = np.ones(len(p_values))
    if staked.any():
        found[staked] = false_discovery_control(p_values[staked])
    return found


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
    medians = (
        MeasuredMedian(
            measure,
            _median(staked, _numbers(staked, measure.column)),
            None if measure.chance is None else _median(staked, _numbers(staked, measure.chance)),
            None if measure.by_norm is None else _median(staked, _numbers(staked, measure.by_norm)),
        )
        for measure in MEASURES
    )
    necessary = float(_is_necessary(staked).mean()) if staked.num_rows else None
    return GroupReport(group, rows.num_rows, staked.num_rows, necessary, tuple(medians), _gains(staked))


def _gains(rows: pa.Table) -> tuple[Gain, ...]:
    influence = _numbers(rows, "spearman")
    return tuple(
        Gain(
            name,
            _median(rows, influence - _numbers(rows, f"spearman_{column}")),
            _median(rows, _numbers(rows, f"spearman_beside_{column}")),
        )
        for column, name in SIMPLER.items()
    )


def as_rows(reports: list[GroupReport]) -> pa.Table:
    """Return the reports as rows, one for each group and measure, then what influence adds."""
    measured = [
        {
            "prompt_group": report.group,
            "graphs": report.graphs,
            "at_stake": report.at_stake,
            "necessary": report.necessary,
            "measure": median.measure.column,
            **_columns("", median.circuits),
            **_columns("chance_", median.chance),
            **_columns("by_norm_", median.by_norm),
        }
        for report in reports
        for median in report.medians
    ]
    gained = [
        {
            "prompt_group": report.group,
            "graphs": report.graphs,
            "at_stake": report.at_stake,
            "necessary": report.necessary,
            "measure": f"{name} beside {gain.name}",
            **_columns("", median),
            **_columns("chance_", None),
            **_columns("by_norm_", None),
        }
        for report in reports
        for gain in report.gains
        for name, median in (("difference", gain.difference), ("partial", gain.partial))
    ]
    return pa.Table.from_pylist(measured + gained)


def _columns(prefix: str, median: Median | None) -> dict[str, float | None]:
    values = (None, None, None) if median is None else (median.value, median.low, median.high)
    return dict(zip((f"{prefix}median", f"{prefix}low", f"{prefix}high"), values, strict=True))


def disagreements(faithfulness: pa.Table) -> list[Disagreement]:
    """Return the nearly complete graphs with something at stake whose circuit is not necessary.

    The most complete comes first.
    """
    faithfulness = faithfulness.filter(faithfulness["is_at_stake"])
    found = (_numbers(faithfulness, "completeness_score") >= HIGH) & ~_is_necessary(faithfulness)
    rows = faithfulness.filter(pa.array(found)).sort_by([("completeness_score", "descending")]).to_pylist()
    return [
        Disagreement(
            row["id"],
            row["text"],
            row["completeness_score"],
            row["necessity"],
            row["necessity_rank"],
            row["draws"],
        )
        for row in rows
    ]


def _is_necessary(faithfulness: pa.Table) -> np.ndarray:
    return _numbers(faithfulness, "necessity_q") <= LEVEL


def _median(rows: pa.Table, values: np.ndarray) -> Median | None:
    there = ~np.isnan(values)
    clusters = _numbers(rows, "cluster")[there]
    return (
        Median(*median_interval(values[there], clusters=clusters), int(there.sum())) if there.any() else None
    )


def _numbers(faithfulness: pa.Table, column: str) -> np.ndarray:
    return faithfulness[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
