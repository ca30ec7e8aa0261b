"""The lines of the report: columns of `faithfulness`, with the names that people read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A line of the report."""

    name: str
    run: str
    """Run that it is of, as the report names it."""

    column: str
    """Column of `faithfulness`; those of its competitors end in the keys of `COMPETITORS`."""


HELD, FREE, REPLACEMENT = "patterns held", "patterns free", "replaced"

MEASURES = (
    Measure("necessity", HELD, "necessity"),
    Measure("necessity", FREE, "free_necessity"),
    Measure("necessity", REPLACEMENT, "replacement_necessity"),
    Measure("sufficiency", HELD, "sufficiency"),
    Measure("sufficiency", FREE, "free_sufficiency"),
    Measure("sufficiency", REPLACEMENT, "replacement_sufficiency"),
    Measure("no errors", REPLACEMENT, "replacement_sufficiency_without_errors"),
)
"""Shares of what is at stake, each beside its competitors."""

COMPETITORS = {"null": "matched", "active_null": "any active", "by_norm": "largest", "worst": "worst"}
"""Sets that a circuit is compared with, by the end of their columns' names."""

RANKS = (
    Measure("ablation rho", HELD, "spearman"),
    Measure("ablation rho", FREE, "free_spearman"),
    Measure("ablation rho", REPLACEMENT, "replacement_spearman"),
    Measure("knock-on rho", "constrained", "knock_on_spearman"),
)
"""Rank correlations over single features."""

SIMPLER = {
    "write_norm": "write norm",
    "late_write_norm": "late write norm",
    "direct_edge": "direct edge",
    "gradient": "gradient",
}
"""Simpler rankings of single features, by the end of their columns' names."""

LEVEL = 0.05
"""Share of false ones among the circuits that are called necessary, at most (Benjamini and Hochberg, over all
graphs at stake; a graph's p-value is its rank among its random sets, itself counted)."""
