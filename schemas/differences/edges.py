"""`diff_edges`: edges that differ beyond the noise floor."""

from __future__ import annotations

import pyarrow as pa

from schemas.differences.columns import CHANGE, PROMPT, both
from schemas.node_columns import node_columns
from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

DIFF_EDGES = Table(
    name="diff_edges",
    row="an edge that differs beyond the noise floor",
    key=(
        "id",
        *(field.name for side in ("source_", "target_") for field in node_columns(side)),
        "target_index",
    ),
    schema=pa.schema(
        [
            PROMPT,
            prompt_group(),
            *node_columns("source_", "the edge's source"),
            *node_columns("target_", "the edge's target"),
            column(
                "target_index",
                pa.int16(),
                "Index in `targets` of `graphs`, from 0, of a target that is neither a token nor a feature; "
                "null for all others",
                "index",
                nullable=True,
            ),
            *CHANGE,
            *both("weight", pa.float64(), "Weight", "target's pre-activation, or centred logit"),
            *both("influence", pa.float64(), "Influence that flows over it", "probability"),
        ]
    ),
)
