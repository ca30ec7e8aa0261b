"""`activations`: every active feature of a prompt, whether pruning kept it or not.

Sorted by layer, position and feature, so that features ascend and their differences are small: 4.8 bytes a
row, of which 2.9 are the activation.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import position_from_end, prompt_id, prompt_key
from schemas.table import Table, column

ACTIVATIONS = Table(
    name="activations",
    row="a feature that is active at a position, kept or not",
    key=("prompt_key", "layer", "position", "feature"),
    byte_stream_split=("activation",),
    delta=("feature",),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            column("layer", pa.int16(), "Layer of the feature", "index"),
            column("position", pa.int32(), "Position in the prompt, from 0", "index"),
            position_from_end("it"),
            column("feature", pa.int32(), "Feature index in the layer's transcoder", "index"),
            column("activation", pa.float32(), "Activation of the feature", "activation units"),
        ]
    ),
)
