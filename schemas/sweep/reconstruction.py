"""`reconstruction`: how well the dictionary stands for each MLP on each prompt.

Sorted by layer and position: 12 bytes a row, and 6% of a sweep's bytes on the built-in model, which has nine
active features a row. Each of these costs 5 bytes in `activations` alone: with larger dictionaries the share
is smaller still, so every sweep writes this table.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import position_from_end, prompt_id, prompt_key
from schemas.table import Table, column

RECONSTRUCTION = Table(
    name="reconstruction",
    row="a layer and a position of a prompt",
    key=("prompt_key", "layer", "position"),
    byte_stream_split=("output_norm", "error_norm", "cosine"),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            column("layer", pa.int16(), "Layer of the MLP", "index"),
            column(
                "position",
                pa.int32(),
                "Position in the prompt, from 0; the first, which carry no features, are left out",
                "index",
            ),
            position_from_end("it"),
            column("active_features", pa.int32(), "Features that are active here", "features"),
            column(
                "output_norm",
                pa.float32(),
                "Euclidean norm of the MLP's output",
                "length in the residual stream",
            ),
            column(
                "error_norm",
                pa.float32(),
                "Euclidean norm of the error: output less reconstruction",
                "length in the residual stream",
            ),
            column(
                "cosine",
                pa.float32(),
                "Cosine between output and reconstruction (features, bias, skip path); 0 if one of them is",
                "cosine",
            ),
        ]
    ),
)
