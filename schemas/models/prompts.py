"""`compare_prompts`: what two models make of each prompt."""

from __future__ import annotations

import pyarrow as pa

from schemas.differences import PROMPT, both
from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

COMPARE_PROMPTS = Table(
    name="compare_prompts",
    row="a prompt that both models have",
    key=("id",),
    schema=pa.schema(
        [
            PROMPT,
            prompt_group(),
            column("cluster", pa.int64(), "Number of its cluster, which counts once", "number"),
            column("text", pa.string(), "The prompt, as in A", "text"),
            *both("prediction", pa.string(), "The model's own likeliest next token", "text"),
            *both(
                "correct",
                pa.bool_(),
                "True where it is one of the answers; NULL where that is not known",
                "yes or no",
            ),
            column("agree", pa.bool_(), "True if both predict the same, spaces aside", "yes or no"),
            *both(
                "error_share",
                pa.float64(),
                "Influence that comes from errors: 1 less the replacement score",
                "share, 0 to 1",
            ),
            *both("completeness_score", pa.float64(), "Completeness of the whole graph", "share, 0 to 1"),
            *both(
                "path_length",
                pa.float64(),
                "Mean number of edges from a token or error to the targets",
                "edges",
            ),
            *both("nodes", pa.int64(), "Nodes of the pruned graph", "nodes"),
            *both("edges", pa.int64(), "Edges of the pruned graph", "edges"),
            column(
                "parted",
                pa.float64(),
                "Share of A's influence on edges that B lacks, unmatched ones too",
                "share, 0 to 1",
                nullable=True,
            ),
            column(
                "new_influence",
                pa.float64(),
                "Share of B's influence on edges between matched ends that A lacks",
                "share, 0 to 1",
                nullable=True,
            ),
        ]
    ),
)
