"""Which group each prompt belongs to: the values of one column of `graphs`."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigurationError
from pipeline.store import Snapshot, bind

ALL = "all"
"""The one group's name where prompts are not grouped."""


@dataclass(frozen=True)
class Labels:
    """The prompts that have a group."""

    rows: pa.Table
    """Columns `prompt_key`, `prompt_group` and `positions` (tokens of the prompt)."""

    left_out: int
    """Prompts without a value, or with an empty one: they belong to no group and are not counted."""

    @property
    def sizes(self) -> dict[str, int]:
        """Prompts of each group."""
        counted = pc.value_counts(self.rows["prompt_group"])
        return {
            row["values"]: row["counts"] for row in sorted(counted.to_pylist(), key=lambda r: r["values"])
        }

    def shuffled(self, seed: int) -> Labels:
        """The same labels dealt out anew over the prompts: nothing can be tied to a group any more."""
        order = np.random.default_rng(seed).permutation(self.rows.num_rows)
        prompt_group = self.rows["prompt_group"].take(pa.array(order))
        return Labels(
            self.rows.set_column(self.rows.column_names.index("prompt_group"), "prompt_group", prompt_group),
            self.left_out,
        )


def read_labels(snapshot: Snapshot, by: str | None) -> Labels:
    """Read each prompt's label.

    Raises:
        ConfigurationError: `graphs` has no such column, or its values are lists.

    """
    if by is not None:
        _check_column(snapshot.schemas["graphs"], by)
    prompt_group = f"""'{ALL}'""" if by is None else f"nullif(\"{by}\"::varchar, '')"
    with duckdb.connect() as connection:
        bind(connection, snapshot)
        found = connection.sql(f"select prompt_key, {prompt_group} as prompt_group, positions from graphs")
        rows = found.to_arrow_table().sort_by("prompt_key")
    labelled = rows.filter(pc.field("prompt_group").is_valid())
    if not labelled.num_rows:
        what = "holds no graph yet: run its sweep first" if by is None else f"has no value in column {by!r}"
        raise ConfigurationError(f"{snapshot.folder.url} {what}.")
    return Labels(labelled, rows.num_rows - labelled.num_rows)


def _check_column(graphs: pa.Schema, by: str) -> None:
    usable = [field.name for field in graphs if not pa.types.is_nested(field.type)]
    if by not in usable:
        raise ConfigurationError(
            f"--by {by!r}: `graphs` has no such column with one value a prompt; there are "
            f"{', '.join(reversed(usable))}. Columns of the prompts are carried along by `prompts.columns` "
            "of the sweep file."
        )
