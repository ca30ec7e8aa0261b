"""Family by family: how two models' answers and graphs differ, beyond a margin or a yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.paired_differences import (
    FALSE_DISCOVERY_RATE,
    adjusted,
    cluster_means,
    difference,
    share_interval,
)
from schemas import MODEL_TABLES


@dataclass(frozen=True)
class Measure:
    """A number of each prompt that is compared."""

    name: str
    words: str
    margin: float
    """Size that a difference must exceed to count, in the measure's unit."""

    is_share: bool = False
    """True of right and wrong answers."""

    of_both: bool = False
    """True where the number is already a difference of A and B: 0 where they are the same."""


MEASURES = (
    Measure("correct", "answers right", 0.05, is_share=True),
    Measure("error_share", "share of influence in errors", 0.05),
    Measure("completeness_score", "completeness", 0.05),
    Measure("path_length", "path length, edges", 0.25),
    Measure("parted", "A's influence on edges that B lacks", 0.05, of_both=True),
)

Yardstick = Mapping[tuple[str, str], float]
"""By family and measure: the largest difference that means nothing, found between A and what equals it."""


def family_rows(prompts: pa.Table, yardstick: Yardstick | None = None) -> pa.Table:
    """Return the rows of `compare_families`.

    Args:
        prompts: rows of `compare_prompts`.
        yardstick: differences that mean nothing; the margin is at least as large.

    """
    groups = np.array(prompts["prompt_group"].to_pylist(), dtype=object)
    clusters = prompts["cluster"].to_numpy()
    rows = []
    for group in sorted(set(groups)):
        here = groups == group
        for measure in MEASURES:
            a, b = (_values(prompts, measure, side)[here] for side in "ab")
            margin = max(measure.margin, (yardstick or {}).get((group, measure.name), 0.0))
            rows.append(_row(str(group), measure, a, b, clusters[here], margin))
    q_values = adjusted([row["p_value"] for row in rows])
    for row, q in zip(rows, q_values, strict=True):
        row["q_value"] = q
        row["differs"] = q is not None and q <= FALSE_DISCOVERY_RATE
    return pa.Table.from_pylist(rows, MODEL_TABLES["compare_families"].schema)


def _row(
    group: str, measure: Measure, a: np.ndarray, b: np.ndarray, clusters: np.ndarray, margin: float
) -> dict[str, object]:
    found = difference(cluster_means(b - a, clusters), margin, measure.is_share)
    row: dict[str, object] = {
        "prompt_group": group,
        "measure": measure.name,
        "prompts": int((~np.isnan(b - a)).sum()),
        "clusters": found.clusters,
        "margin": margin,
        "difference": None if np.isnan(found.mean) else found.mean,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
    }
    for side, values in (("a", a), ("b", b)):
        means = cluster_means(values, clusters)
        of_both = measure.of_both or not len(means)
        row[f"value_{side}"] = None if of_both else float(means.mean())
        low, high = (
            share_interval(means.mean(), len(means)) if measure.is_share and len(means) else (None, None)
        )
        row[f"low_{side}"], row[f"high_{side}"] = low, high
    return row


def _values(prompts: pa.Table, measure: Measure, side: str) -> np.ndarray:
    if measure.of_both:  # B's is the difference itself
        name = measure.name
        values = prompts[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return values if side == "b" else np.where(np.isnan(values), np.nan, 0.0)
    column = prompts[f"{measure.name}_{side}"].cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


def yardstick_of(families: list[pa.Table]) -> Yardstick:
    """Return, by family and measure, the largest difference that an interval holds between equals."""
    found: dict[tuple[str, str], float] = {}
    for table in families:
        for row in table.to_pylist():
            # An interval of answers is wide however equal they are, so it says nothing of how equals differ.
            names = ("difference",) if row["measure"] == "correct" else ("low", "high", "difference")
            ends = [abs(row[name]) for name in names if row[name] is not None]
            key = row["prompt_group"], row["measure"]
            found[key] = max(found.get(key, 0.0), *ends) if ends else found.get(key, 0.0)
    return found
