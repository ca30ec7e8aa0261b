"""`circuits`: what `circuit-sweep discover` found in each group of prompts, on the discovery half."""

from __future__ import annotations

import pyarrow as pa

from schemas.circuits.columns import SHARE, circuit
from schemas.prompt_groups import grouped_by, prompt_group
from schemas.table import Table, column

CIRCUITS = Table(
    name="circuits",
    row="a circuit: features at roles, with the edges between them, that recur in a group of prompts",
    key=("circuit",),
    schema=pa.schema(
        [
            circuit(),
            prompt_group(),
            column("name", pa.string(), "Its supernodes' names along the way to the target", "text"),
            column("nodes", pa.int32(), "Features at roles, without the target", "nodes"),
            column("supernodes", pa.int32(), "Supernodes that these fall into", "supernodes"),
            column("edges", pa.int32(), "Edges between them and into the target", "edges"),
            column("prompts", pa.int64(), "Prompts of the discovery half that it was found on", "prompts"),
            column("clusters", pa.int64(), "Clusters of these prompts", "clusters"),
            column("group_clusters", pa.int64(), "Clusters of the group in the discovery half", "clusters"),
            column(
                "share",
                pa.float64(),
                "Share of the influence on the target that comes in over its edges, mean over its clusters",
                SHARE,
            ),
            column(
                "similarity",
                pa.float64(),
                "Mean similarity of its clusters' graphs, over the edges that recur in the group",
                "cosine",
            ),
            grouped_by(),
        ]
    ),
)
