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
                "Mean over resamples of the held-out prompts of the best overlap with a supernode of theirs",
                "Jaccard index, 0 to 1",
            ),
            column(
                "q_value",
                pa.float64(),
                "False discovery rate at which its features would count as active together on the held-out "
                "prompts beyond what their frequencies give; 1 where `stability` is 0.75 or less, null where "
                "it is alone",
                "rate, 0 to 1",
                nullable=True,
            ),
            column(
                "is_stable",
                pa.bool_(),
                "True if `stability` is above 0.75 and `q_value` at most 0.05; of others nothing was shown",
                "yes or no",
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
