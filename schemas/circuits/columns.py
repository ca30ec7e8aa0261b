"""The columns that several tables of circuits share."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import KIND
from schemas.table import column

SHARE = "share, 0 to 1"


def circuit() -> pa.Field:
    """The column that names a circuit."""
    return column(
        "circuit",
        pa.string(),
        "The group that it was found in and its number there, the most frequent first: `capital#1`",
        "name",
    )


def circuit_node(prefix: str = "", node: str = "the node") -> list[pa.Field]:
    """Kind, layer, feature and role, which together name a node of a circuit."""
    return [
        column(f"{prefix}kind", KIND, f"Kind of {node}: feature, or logit for the explained target", "name"),
        column(
            f"{prefix}layer", pa.int16(), f"Layer of {node}; of a target at the output their number", "index"
        ),
        column(
            f"{prefix}feature",
            pa.int32(),
            f"Feature index of {node} in its layer's transcoder; null for a target",
            "index",
            nullable=True,
        ),
        column(
            f"{prefix}role",
            pa.string(),
            f"Role of the positions of {node}: opening, last, subject, earlier, after_earlier, repeated or "
            "other",
            "name",
        ),
    ]


def supernode(prefix: str = "", node: str = "the node") -> pa.Field:
    """The column that ties a node to its supernode."""
    return column(
        f"{prefix}supernode",
        pa.int32(),
        f"Number of the supernode of {node} in its circuit, from 0 at the bottom; null for a target",
        "index",
        nullable=True,
    )
