"""`edge_stats`: how each edge behaves over a group of prompts; `circuit-sweep aggregate` writes it.

Positions are collapsed: a prompt's kept edges between the same two end points, at whatever positions, are
one edge whose weight and influence are their sums. Means and spreads are over the prompts that have it, so
over those where it was strong enough to be kept; sums are over all prompts of the group, 0 where it was not.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import node_columns
from schemas.prompt_groups import grouped_by, prompt_group
from schemas.table import Table, column


def end_points() -> list[pa.Field]:
    """Source and target without what only one prompt's graph can name: position and index of a target."""
    ends = [
        *node_columns("source_", "the edge's source"),
        *node_columns("target_", "the edge's target"),
    ]
    return [field for field in ends if not field.name.endswith("position")]


_WEIGHT = "target's pre-activation, or centred logit"

EDGE_STATS = Table(
    name="edge_stats",
    row="an edge, positions collapsed, over the prompts of a group",
    key=("prompt_group", *(field.name for field in end_points())),
    schema=pa.schema(
        [
            prompt_group(),
            *end_points(),
            column("support", pa.int64(), "Prompts whose pruned graph holds it", "prompts"),
            column("prompts", pa.int64(), "Prompts of the group, holding it or not", "prompts"),
            column("weight_sum", pa.float64(), "Weight summed over all of these, 0 where not kept", _WEIGHT),
            column(
                "influence_sum",
                pa.float64(),
                "Influence summed over all of these, 0 where not kept",
                "probability",
            ),
            column("weight_mean", pa.float64(), "Mean weight where kept", _WEIGHT),
            column("weight_sd", pa.float64(), "Standard deviation of the weight over prompts", _WEIGHT),
            column("influence_mean", pa.float64(), "Mean influence where kept", "probability"),
            column(
                "influence_sd",
                pa.float64(),
                "Standard deviation of the influence over prompts",
                "probability",
            ),
            column(
                "sign_consistency",
                pa.float64(),
                "Share of the supporting prompts whose weight has the more frequent sign",
                "share, 0.5 to 1",
            ),
            column(
                "sign_consistency_by_chance",
                pa.float64(),
                "The same of signs that a coin decides, mean over as many prompts: 1 for a support of 1",
                "share, 0.5 to 1",
            ),
            grouped_by(),
        ]
    ),
)
