"""`circuit_edges`: the edges of circuits, with what sets them apart from chance."""

from __future__ import annotations

import pyarrow as pa

from schemas.circuits.columns import SHARE, circuit, circuit_node, supernode
from schemas.prompt_groups import grouped_by
from schemas.table import Table, column

CIRCUIT_EDGES = Table(
    name="circuit_edges",
    row="an edge of a circuit",
    key=(
        "circuit",
        *(f"{end}_{name}" for end in ("source", "target") for name in ("kind", "layer", "feature", "role")),
    ),
    schema=pa.schema(
        [
            circuit(),
            *circuit_node("source_", "the edge's source"),
            *circuit_node("target_", "the edge's target"),
            supernode("source_", "the source"),
            supernode("target_", "the target"),
            column("support", pa.float64(), "Clusters of the circuit whose graphs hold it", SHARE),
            column(
                "share",
                pa.float64(),
                "Share of the influence on the target that flows over it, mean over the circuit's clusters",
                SHARE,
            ),
            column(
                "sign",
                pa.int8(),
                "1 if it raises its target in most of the group's clusters, -1 if not",
                "sign",
            ),
            column(
                "sign_consistency",
                pa.float64(),
                "Share of the group's clusters with it that have this sign",
                SHARE,
            ),
            column(
                "stability",
                pa.float64(),
                "Mean `stability` of the edge in the group's graphs that hold it",
                SHARE,
            ),
            column("group_support", pa.float64(), "Clusters of the group whose graphs hold it", SHARE),
            column("other_support", pa.float64(), "Clusters of the other groups whose graphs hold it", SHARE),
            column(
                "rewired_support",
                pa.float64(),
                "Clusters of the group expected to hold it if each graph's edges fell between layers, and "
                "there on nodes, as often as those of all graphs",
                SHARE,
            ),
            column(
                "p_other",
                pa.float64(),
                "Chance of `group_support` if groups were dealt out over clusters",
                "probability",
            ),
            column("p_rewired", pa.float64(), "Chance of it in rewired graphs", "probability"),
            column(
                "q_value",
                pa.float64(),
                "False discovery rate at which the larger of these counts, over all edges and groups",
                "rate, 0 to 1",
            ),
            grouped_by(),
        ]
    ),
)
