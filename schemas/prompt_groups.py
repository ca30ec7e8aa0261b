"""The columns that name a group of prompts, spelt once for the tables of many graphs."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import column


def prompt_group() -> pa.Field:
    """The column that says which group of prompts a row speaks of."""
    return column(
        "prompt_group", pa.string(), "The prompts' value of the column they were grouped by", "name"
    )


def grouped_by() -> pa.Field:
    """The column that says what the prompts were grouped by."""
    return column(
        "grouped_by",
        pa.string(),
        "Grouping and filter of the prompts, as given to `aggregate`; `all` for one group of all",
        "text",
    )
