"""`diff_matches`: the feature of B that is most like each feature of A."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import Table, column

DIFF_MATCHES = Table(
    name="diff_matches",
    row="a feature of A with the feature of B that is most like it",
    key=("layer_a", "feature_a"),
    schema=pa.schema(
        [
            column("layer_a", pa.int16(), "Layer of A's feature", "index"),
            column("feature_a", pa.int32(), "Its index in the layer's transcoder", "index"),
            column("layer_b", pa.int16(), "Layer of B's feature", "index"),
            column("feature_b", pa.int32(), "Its index in the layer's transcoder", "index"),
            column("correlation", pa.float64(), "Of their activations on shared prompts", "correlation"),
            column(
                "n_coactive",
                pa.int64(),
                "Observations (positions or prompts) with both active",
                "observations",
            ),
            column("mutual", pa.bool_(), "True where A's is also the most similar to B's", "yes or no"),
            column("matched", pa.bool_(), "True where circuits are compared through this pair", "yes or no"),
        ]
    ),
)
