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
                "chance",
                pa.float64(),
                "What 99% of the features that are active about as often stay below by chance: where B's "
                "observations are dealt out among those of the same token, and with a random dictionary",
                "correlation",
            ),
            column(
                "n_coactive",
                pa.int64(),
                "Observations (contexts or prompts) with both active",
                "observations",
            ),
            column("mutual", pa.bool_(), "True where A's is also the most similar to B's", "yes or no"),
            column("matched", pa.bool_(), "True where circuits are compared through this pair", "yes or no"),
            column(
                "assigned_layer_b",
                pa.int16(),
                "Layer of the feature of B that the one-to-one assignment gives; null where it gives none",
                "index",
                nullable=True,
            ),
            column(
                "assigned_feature_b",
                pa.int32(),
                "Its index in the layer's transcoder",
                "index",
                nullable=True,
            ),
            column(
                "assigned_correlation",
                pa.float64(),
                "Of A's feature and the assigned one",
                "correlation",
                nullable=True,
            ),
            column(
                "decoder_cosine",
                pa.float64(),
                "Cosine of what the two features write at their own layers; null where the models differ or "
                "were not loaded",
                "cosine",
                nullable=True,
            ),
        ]
    ),
)
