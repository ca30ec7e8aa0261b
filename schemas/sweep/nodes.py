"""`nodes`: the nodes that pruning kept, in the graph's node order (features, errors, tokens, logits)."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import (
    NODE_COLUMNS,
    node_columns,
    position_from_end,
    prompt_id,
    prompt_key,
    target_index,
)
from schemas.table import Table, column

NODES = Table(
    name="nodes",
    row="a node that pruning kept",
    key=("prompt_key", *NODE_COLUMNS, "target_index"),
    byte_stream_split=("activation", "total_input", "error_norm", "influence", "cumulative_influence"),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            *node_columns(),
            target_index("the node, a target,"),
            position_from_end("the node"),
            column(
                "activation",
                pa.float32(),
                "Activation of a feature; probability (or weight) of a target; null for errors and tokens",
                "activation units, or probability",
                nullable=True,
            ),
            column(
                "total_input",
                pa.float32(),
                "Sum of |weight| over all edges into a feature or a target in the whole graph, kept or not: "
                "an edge's |weight| over it is the edge's share; null for errors and tokens, without inputs",
                "node's pre-activation, or centred logit",
                nullable=True,
            ),
            column(
                "error_norm",
                pa.float32(),
                "Euclidean norm of an error, what features leave unexplained of the MLP's output; null for "
                "all but errors",
                "length in the residual stream",
                nullable=True,
            ),
            column(
                "influence",
                pa.float32(),
                "Influence on the targets over all paths in the unpruned graph; 0 for targets",
                "probability",
            ),
            column(
                "cumulative_influence",
                pa.float32(),
                "Share of the unpruned graph's influence that this node and all more influential ones carry; "
                "low is important",
                "share, 0 to 1",
            ),
            column(
                "stability",
                pa.float32(),
                "Share of 15 prunings of the same graph that keep the node: node thresholds 0.7, 0.75, 0.8, "
                "0.85 and 0.9 with edge thresholds 0.95, 0.97 and 0.99",
                "share, 0 to 1",
            ),
        ]
    ),
)
