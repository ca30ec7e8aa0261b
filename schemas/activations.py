"""`activations`: every active feature of a prompt, whether pruning kept it or not."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import place_columns, prompt_key
from schemas.table import Table, column

ACTIVATIONS = Table(
    name="activations",
    row="a feature that is active at a position, kept or not",
    key=("prompt_key", "layer", "position", "feature"),
    byte_stream_split=("activation",),
    schema=pa.schema(
        [
            prompt_key(),
            *place_columns(),
            column("activation", pa.float32(), "Activation of the feature", "activation units"),
        ]
    ),
)
