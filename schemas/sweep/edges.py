"""`edges`: the edges that pruning kept, with both end points spelt out so that questions need no join.

Sorted by target, then source, in node order: an end point that repeats costs almost nothing under
dictionary and run-length encoding. Weight and influence are measured numbers and cost what floats cost.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import node_columns, prompt_id, prompt_key, target_index
from schemas.table import Table, column

_SOURCE = node_columns("source_", "the edge's source")
_TARGET = [*node_columns("target_", "the edge's target"), target_index("the edge's target, if it is one,")]

EDGES = Table(
    name="edges",
    row="an edge that pruning kept",
    key=("prompt_key", *(field.name for field in [*_SOURCE, *_TARGET])),
    byte_stream_split=("weight", "influence"),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            *_SOURCE,
            *_TARGET,
            column(
                "weight",
                pa.float32(),
                "Direct effect of the source on the target in the local replacement model, with its sign",
                "target's pre-activation, or centred logit",
            ),
            column(
                "influence",
                pa.float32(),
                "Influence on the targets that flows over this edge, normalised within the pruned graph",
                "probability",
            ),
            column(
                "stability",
                pa.float32(),
                "Share of 15 prunings of the same graph that keep the edge: node thresholds 0.7, 0.75, 0.8, "
                "0.85 and 0.9 with edge thresholds 0.95, 0.97 and 0.99",
                "share, 0 to 1",
            ),
        ]
    ),
)
