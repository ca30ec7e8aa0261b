"""What a validation says of each family of prompts, and where attribution and causation disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.validation.output import ValidationOutput
from pipeline.validation.statistics import median_interval

MEASURES = {
    "ablation rho": "spearman",
    "knock-on rho": "knock_on_spearman",
    "necessity": "necessity",
    "its null": "necessity_null",
    "sufficiency": "sufficiency",
    "its null ": "sufficiency_null",
    "no errors": "sufficiency_without_errors",
    "its null  ": "sufficiency_without_errors_null",
}
"""Headings of a report and the columns of `faithfulness` behind them; blanks keep equal headings apart."""

HIGH = 0.9
"""Completeness from which a graph claims to explain its answer."""

LEVEL = 0.05
"""A circuit is called necessary if at most this share of its random sets, itself counted, lose as much."""


@dataclass(frozen=True)
class Median:
    """A median with its 95% bootstrap interval, over the graphs where the measure exists."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class FamilyReport:
    """One family of prompts."""

    family: str
    graphs: int
    necessary: float
    """Share of the graphs whose circuit loses more than its random sets."""

    medians: dict[str, Median | None]
    """By heading of `MEASURES`; None where no graph has the measure."""


@dataclass(frozen=True)
class Disagreement:
    """A graph that is nearly complete, but whose circuit does not matter more than chance."""

    id: str
    text: str
    completeness_score: float
    necessity: float | None
    rank: int
    draws: int


def read_verdicts(output: ValidationOutput, by: str | None) -> pa.Table:
    """Read `faithfulness` with each graph's completeness, text and family.

    Args:
        output: the validation.
        by: column of `graphs` that names the family; by default `family` where the sweep carries it.

    Raises:
        ConfigurationError: there is no such column.

    """
    carried = output.sweep.schemas["graphs"].names
    if by is not None and by not in carried:
        raise ConfigurationError(
            f"graphs have no column {by!r} to group by: there are {', '.join(carried)}. A sweep carries "
            "along the columns that prompts.columns names."
        )
    column = by or ("family" if "family" in carried else None)
    family = f'cast(graphs."{column}" as varchar)' if column else "'all'"
    verdicts = Results(output.sweep).sql(
        f"select coalesce({family}, 'none') as family, text, completeness_score, faithfulness.* "
        "from faithfulness join graphs using (prompt_key) order by family, prompt_key"
    )
    return verdicts.to_arrow_table()


def families(verdicts: pa.Table) -> list[FamilyReport]:
    """Sum up each family, and where there are several, all of them together."""
    names = np.array(verdicts["family"].to_pylist())
    reports = [_summed_up(str(name), verdicts.filter(pa.array(names == name))) for name in np.unique(names)]
    return reports if len(reports) < 2 else [*reports, _summed_up("all", verdicts)]


def _summed_up(family: str, verdicts: pa.Table) -> FamilyReport:
    return FamilyReport(
        family=family,
        graphs=verdicts.num_rows,
        necessary=float(_is_necessary(verdicts).mean()),
        medians={heading: _median(_numbers(verdicts, column)) for heading, column in MEASURES.items()},
    )


def disagreements(verdicts: pa.Table) -> list[Disagreement]:
    """Return the nearly complete graphs whose circuit is not necessary, most complete first."""
    found = (_numbers(verdicts, "completeness_score") >= HIGH) & ~_is_necessary(verdicts)
    rows = verdicts.filter(pa.array(found)).sort_by([("completeness_score", "descending")]).to_pylist()
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


def _is_necessary(verdicts: pa.Table) -> np.ndarray:
    return _numbers(verdicts, "necessity_rank") <= LEVEL * (_numbers(verdicts, "draws") + 1)


def _median(values: np.ndarray) -> Median | None:
    values = values[~np.isnan(values)]
    return Median(*median_interval(values), len(values)) if len(values) else None


def _numbers(verdicts: pa.Table, column: str) -> np.ndarray:
    return verdicts[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
