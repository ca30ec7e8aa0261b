"""`compare_features`: how strongly a feature answers in two models, family by family."""

from __future__ import annotations

import pyarrow as pa

from schemas.prompt_groups import prompt_group
from schemas.table import Table, column

COMPARE_FEATURES = Table(
    name="compare_features",
    row="a feature in a family of prompts, in whose graphs either model has it",
    key=("prompt_group", "layer_a", "feature_a"),
    schema=pa.schema(
        [
            prompt_group(),
            column("layer_a", pa.int16(), "Layer in A", "layer"),
            column("feature_a", pa.int32(), "Index in A", "index"),
            column("layer_b", pa.int16(), "Layer in B: the same, or of the feature that matches", "layer"),
            column("feature_b", pa.int32(), "Index in B", "index"),
            column("clusters", pa.int64(), "Clusters of the family's prompts", "clusters"),
            column(
                "activation_a",
                pa.float64(),
                "Mean over clusters of its largest activation in A",
                "share of its largest",
            ),
            column("activation_b", pa.float64(), "The same in B", "share of its largest"),
            column(
                "influence_a", pa.float64(), "Sum of its influence in A's graphs of the family", "influence"
            ),
            column("influence_b", pa.float64(), "The same in B's", "influence"),
            column(
                "p_value",
                pa.float64(),
                "Of a move as far beyond 0.1 by chance; NULL of fewer than 6 clusters",
                "probability",
                nullable=True,
            ),
            column(
                "q_value",
                pa.float64(),
                "The same over all rows (Benjamini-Hochberg)",
                "probability",
                nullable=True,
            ),
            column("moved", pa.bool_(), "True if `q_value` is at most 0.05", "yes or no"),
        ]
    ),
)
