"""`nodes`: the nodes that pruning kept, in the graph's node order (features, errors, tokens, logits)."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import node_columns, prompt_key
from schemas.table import Table, column

NODES = Table(
    name="nodes",
    row="a node that pruning kept",
    key=("prompt_key", "kind", "layer", "position", "feature"),
    byte_stream_split=("activation", "influence", "cumulative_influence"),
    schema=pa.schema(
        [
            prompt_key(),
            *node_columns(),
            column(
                "activation",
                pa.float32(),
                "Activation of a feature; probability (or weight) of a logit; 0 for errors and tokens",
                "activation units, or probability",
            ),
            column(
                "influence",
                pa.float32(),
                "Influence on the targets over all paths in the unpruned graph; 0 for logits",
                "probability",
            ),
            column(
                "cumulative_influence",
                pa.float32(),
                "Share of the unpruned graph's influence that this node and all more influential ones carry; "
                "low is important",
                "share, 0 to 1",
            ),
        ]
    ),
)
