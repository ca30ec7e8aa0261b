"""Columns that the tables of differences share."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import column

PROMPT = column("id", pa.string(), "The user's name for the prompt, as in A", "name")

CHANGE = [
    column(
        "change",
        pa.dictionary(pa.int8(), pa.string()),
        "gained (only in B), lost (only in A) or changed",
        "name",
    ),
    column(
        "size",
        pa.float64(),
        "Size beyond chance: the larger of the differences, each relative to the largest of its prompt; "
        "of what is in one alone, its distance from where the other was cut off",
        "share of the prompt's largest",
    ),
]


def both(name: str, type: pa.DataType, meaning: str, unit: str) -> list[pa.Field]:
    """Return a column for each sweep, `name_a` and `name_b`."""
    return [
        column(f"{name}_{side.lower()}", type, f"{meaning}, in {side}", unit, nullable=True) for side in "AB"
    ]
