"""`diff_prompts`: how the two graphs of each prompt differ."""

from __future__ import annotations

import pyarrow as pa

from schemas.differences.columns import PROMPT, both
from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

_COUNTS = [
    column(f"{what}_{change}", pa.int64(), f"{what.capitalize()} {change} beyond the noise floor", what)
    for what in ("features", "edges")
    for change in ("gained", "lost", "changed")
]

DIFF_PROMPTS = Table(
    name="diff_prompts",
    row="a prompt that both sweeps have",
    key=("id",),
    schema=pa.schema(
        [
            PROMPT,
            prompt_group(),
            *both("target", pa.string(), "First target: by default the most likely next token", "text"),
            *both("probability", pa.float64(), "Its probability", "probability"),
            *both(
                "correct",
                pa.bool_(),
                "True where the model's own prediction is one of the prompt's answers, spaces around it "
                "aside; null without an answer, and where the prediction is only the beginning of one",
                "yes or no",
            ),
            *both("replacement_score", pa.float64(), "Replacement score of the whole graph", "share, 0 to 1"),
            *both("completeness_score", pa.float64(), "Completeness of the whole graph", "share, 0 to 1"),
            *both("nodes", pa.int64(), "Nodes of the pruned graph", "nodes"),
            *both("edges", pa.int64(), "Edges of the pruned graph", "edges"),
            *both(
                "path_length",
                pa.float64(),
                "Mean number of edges from a token or error to the targets, over all paths by their share",
                "edges",
            ),
            *_COUNTS,
        ]
    ),
)
