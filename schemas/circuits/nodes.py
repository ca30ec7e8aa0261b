"""`circuit_nodes`: the features of circuits, each at a role, and what is known of them without a model."""

from __future__ import annotations

import pyarrow as pa

from schemas.circuits.columns import SHARE, circuit, circuit_node, supernode
from schemas.prompt_groups import grouped_by
from schemas.table import Table, column, list_of

CIRCUIT_NODES = Table(
    name="circuit_nodes",
    row="a node of a circuit",
    key=("circuit", "kind", "layer", "feature", "role"),
    schema=pa.schema(
        [
            circuit(),
            *circuit_node(),
            supernode(),
            column(
                "supernode_name",
                pa.string(),
                "Tokens that the supernode is on, its role, and the targets that it raises or lowers "
                "directly",
                "text",
            ),
            column("support", pa.float64(), "Clusters of the circuit whose graphs hold it", SHARE),
            column(
                "share",
                pa.float64(),
                "Share of the influence on the target that flows through it over the circuit's edges, mean "
                "over "
                "its clusters",
                SHARE,
            ),
            column(
                "tokens",
                list_of(pa.string()),
                "Tokens that it is active on in the discovery half at this role, by summed activation",
                "text",
            ),
            column(
                "promotes",
                list_of(pa.string()),
                "Targets that its direct edges raise, by summed weight",
                "text",
            ),
            column("suppresses", list_of(pa.string()), "Targets that they lower", "text"),
            column(
                "groups",
                list_of(pa.string()),
                "Groups of prompts in which an edge of it recurs beyond the others and beyond rewired graphs",
                "name",
            ),
            grouped_by(),
        ]
    ),
)
