"""Verdicts read back beside their prompts' groups, with a q-value of necessity over all graphs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control

from pipeline.aggregates import Grouping, read_groups
from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.store import SWEEP
from pipeline.validation.output import ValidationOutput
from pipeline.validation.report.measures import LEVEL

HIGH = 0.9
"""Completeness from which a graph claims to explain its answer."""


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
    q_values = necessity_q_values(
        numbers(found, "necessity_rank"), numbers(found, "draws"), numbers(found, "is_at_stake").astype(bool)
    )
    return found.append_column("necessity_q", pa.array(q_values, pa.float64()))


def necessity_q_values(
    ranks: Float[np.ndarray, " n"], draws: Float[np.ndarray, " n"], staked: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return each graph's q-value of necessity, over all graphs at stake; 1 for the others.

    Args:
        ranks: of each circuit among itself and its random sets.
        draws: random sets of each.
        staked: True where something is at stake.

    """
    found = np.ones(len(ranks))
    if staked.any():
        found[staked] = false_discovery_control((ranks / (draws + 1))[staked])
    return found


def disagreements(faithfulness: pa.Table) -> list[Disagreement]:
    """Return the nearly complete graphs with something at stake whose circuit is not necessary.

    The most complete comes first.
    """
    faithfulness = faithfulness.filter(faithfulness["is_at_stake"])
    found = (numbers(faithfulness, "completeness_score") >= HIGH) & ~is_necessary(faithfulness)
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


def is_necessary(faithfulness: pa.Table) -> Bool[np.ndarray, " n"]:
    """Tell which circuits are shown to be necessary at `LEVEL`."""
    return numbers(faithfulness, "necessity_q") <= LEVEL


def numbers(faithfulness: pa.Table, column: str) -> Float[np.ndarray, " n"]:
    """Return a column as numbers, NaN where it is NULL."""
    return faithfulness[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
