"""`diff_features`: feature nodes that differ beyond the noise floor."""

from __future__ import annotations

import pyarrow as pa

from schemas.differences.columns import CHANGE, PROMPT, both
from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

DIFF_FEATURES = Table(
    name="diff_features",
    row="a feature node that differs beyond the noise floor",
    key=("id", "layer", "position", "feature"),
    schema=pa.schema(
        [
            PROMPT,
            prompt_group(),
            column("layer", pa.int16(), "Layer of the feature", "index"),
            column("position", pa.int32(), "Position in the prompt, from 0", "index"),
            column("feature", pa.int32(), "Feature index in the layer's transcoder", "index"),
            *CHANGE,
            *both("activation", pa.float64(), "Activation", "activation units"),
            *both("influence", pa.float64(), "Influence on the targets", "probability"),
        ]
    ),
)
