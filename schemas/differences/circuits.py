"""`diff_circuits`: the shared part of each prompt's circuits, compared through the match."""

from __future__ import annotations

import pyarrow as pa

from schemas.differences.columns import PROMPT
from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

_PARTS = {
    "shared": "Edges of A, positions collapsed, that B has between the matched end points",
    "missing": "Edges of A between matched end points that B does not have",
    "unmatched": "Edges of A with an end point that has no match",
    "new": "Edges of B between matched end points that A does not have",
    "unmatched_b": "Edges of B with an end point that has no match",
}

DIFF_CIRCUITS = Table(
    name="diff_circuits",
    row="a prompt whose circuits were compared through the match",
    key=("id",),
    schema=pa.schema(
        [
            PROMPT,
            prompt_group(),
            *(column(name, pa.int64(), meaning, "edges") for name, meaning in _PARTS.items()),
            column(
                "shared_influence", pa.float64(), "Share of A's influence on shared edges", "share, 0 to 1"
            ),
            column(
                "unmatched_influence",
                pa.float64(),
                "Share of A's influence on unmatched edges",
                "share, 0 to 1",
            ),
            column("new_influence", pa.float64(), "Share of B's influence on new edges", "share, 0 to 1"),
        ]
    ),
)
