"""`compare_families`: how two models differ in each family of prompts."""

from __future__ import annotations

import pyarrow as pa

from schemas.prompt_groups import prompt_group
from schemas.table import Table, column


def _number(name: str, meaning: str, unit: str = "as the measure") -> pa.Field:
    return column(name, pa.float64(), meaning, unit, nullable=True)


COMPARE_FAMILIES = Table(
    name="compare_families",
    row="a measure in a family of prompts",
    key=("prompt_group", "measure"),
    schema=pa.schema(
        [
            prompt_group(),
            column(
                "measure",
                pa.string(),
                "`correct`, `error_share`, `completeness_score`, `path_length` or `parted`",
                "name",
            ),
            column("prompts", pa.int64(), "Prompts that both models have a value of", "prompts"),
            column("clusters", pa.int64(), "Clusters of these, each of which counts once", "clusters"),
            _number("value_a", "Mean over clusters in A; NULL of `parted`, which is of both"),
            _number("low_a", "Lower end of its 95% interval, of `correct` alone"),
            _number("high_a", "Upper end of it"),
            _number("value_b", "The mean in B"),
            _number("low_b", "Lower end of its 95% interval, of `correct` alone"),
            _number("high_b", "Upper end of it"),
            _number("difference", "Mean over clusters of B less A; of `parted` the mean itself"),
            _number("low", "Lower end of the difference's 95% interval; NULL of fewer than 6 clusters"),
            _number("high", "Upper end of it"),
            _number("margin", "Size that a difference must exceed: a stated one, or what equals differ by"),
            _number(
                "p_value", "Of a difference as far beyond the margin by chance, two-sided", "probability"
            ),
            _number("q_value", "The same over all families and measures (Benjamini-Hochberg)", "probability"),
            column("differs", pa.bool_(), "True if `q_value` is at most 0.05", "yes or no"),
        ]
    ),
)
