"""`head_loadings`: which head brings the strongest edges of a graph to their targets.

Only for the edges over which most influence flows (`attribution.head_loadings`), and only heads above 5% of
the edge's weight; the rest of an edge is one row. The loadings of an edge sum to its weight.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import node_columns, prompt_id, prompt_key, target_index
from schemas.table import Table, column

_SOURCE = node_columns("source_", "the edge's source")
_TARGET = [*node_columns("target_", "the edge's target"), target_index("the edge's target, if it is one,")]
_PATH = ("path", "head_layer", "head", "key_position")

HEAD_LOADINGS = Table(
    name="head_loadings",
    row="a path that carries a part of an edge",
    key=("prompt_key", *(field.name for field in [*_SOURCE, *_TARGET]), *_PATH),
    byte_stream_split=("loading", "share"),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            *_SOURCE,
            *_TARGET,
            column(
                "path",
                pa.dictionary(pa.int8(), pa.string()),
                "Last head on the way to the target: `head`, one head and key; `residual`, none; `other`, "
                "the sum of all heads and keys below 5% of the edge's weight",
                "name",
            ),
            column(
                "head_layer", pa.int16(), "Layer of the head; null for no single one", "index", nullable=True
            ),
            column("head", pa.int16(), "Head in its layer; null for no single one", "index", nullable=True),
            column(
                "key_position",
                pa.int32(),
                "Position that the head looks at from the target's; null for no single one",
                "index",
                nullable=True,
            ),
            column(
                "loading",
                pa.float32(),
                "Part of the edge's weight that takes this path, with its sign",
                "target's pre-activation, or centred logit",
            ),
            column(
                "share",
                pa.float32(),
                "The same over the edge's weight: paths against it are negative, and others may be above 1",
                "share",
            ),
        ]
    ),
)
