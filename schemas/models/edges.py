"""`compare_edges`: edges that both models use in a family of prompts, or one of them."""

from __future__ import annotations

import pyarrow as pa

from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

COMPARE_EDGES = Table(
    name="compare_edges",
    row="an edge between named ends, positions collapsed, in a family of prompts",
    key=("prompt_group", "source", "target"),
    schema=pa.schema(
        [
            prompt_group(),
            column("source", pa.string(), "A token, or a feature by its name in B", "name"),
            column("target", pa.string(), "A feature by its name in B, or a target", "name"),
            column("change", pa.string(), "`shared`, `missing` (in B) or `new` (in B)", "name"),
            column("clusters", pa.int64(), "Clusters of the family's prompts", "clusters"),
            column("clusters_a", pa.int64(), "Clusters with a prompt in whose graph A has it", "clusters"),
            column("clusters_b", pa.int64(), "The same of B", "clusters"),
            column("influence_a", pa.float64(), "Sum of its influence in A's graphs", "influence"),
            column("influence_b", pa.float64(), "The same in B's", "influence"),
            column(
                "p_value",
                pa.float64(),
                "Of as uneven a split of clusters that one model has it in, by chance (exact sign test)",
                "probability",
            ),
            column("q_value", pa.float64(), "The same over all edges (Benjamini-Hochberg)", "probability"),
        ]
    ),
)
