"""`supernodes`: features that act together over the prompts; `circuit-sweep aggregate --of supernodes`."""

from __future__ import annotations

import pyarrow as pa

from schemas.prompt_groups import grouped_by
from schemas.table import Table, column

SUPERNODES = Table(
    name="supernodes",
    row="a feature with the supernode that it belongs to",
    key=("layer", "feature"),
    schema=pa.schema(
        [
            column("supernode", pa.int32(), "Number of the supernode, from 0, largest first", "index"),
            column("layer", pa.int16(), "Layer of the feature", "index"),
            column("feature", pa.int32(), "Feature index in the layer's transcoder", "index"),
            column("members", pa.int32(), "Features of the supernode; 1 where it is alone", "features"),
            column(
                "similarity",
                pa.float64(),
                "Mean similarity of the feature's profile to the other members'; null where it is alone",
                "cosine",
                nullable=True,
            ),
            column(
                "stability",
                pa.float64(),
                "Mean over resamples of the prompts of the best overlap with a supernode found there",
                "Jaccard index, 0 to 1",
            ),
            column(
                "prompt_group",
                pa.string(),
                "The group of prompts that the feature belongs to by itself; null if to none or not asked",
                "name",
                nullable=True,
            ),
            grouped_by(),
        ]
    ),
)
