"""`training`: how good a trained dictionary is, one row a layer and measurement."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import Table, column


def _share(name: str, meaning: str, nullable: bool = False) -> pa.Field:
    return column(name, pa.float64(), meaning, "share", nullable=nullable)


def _features(name: str, meaning: str, nullable: bool = False) -> pa.Field:
    return column(name, pa.int64(), meaning, "features", nullable=nullable)


TRAINING = Table(
    name="training",
    row="a layer of a dictionary, measured on held-out text at one time of its training",
    key=("measured", "layer"),
    schema=pa.schema(
        [
            column(
                "measured",
                pa.string(),
                "`start`: what training began from; `trained`: at the end; `finished`: after the finish with "
                "all layers replaced, where `trained` is before it",
                "time",
            ),
            column("layer", pa.int32(), "Layer of the model", "layer"),
            column("kind", pa.string(), "`plt`, `skip`, `clt` or `sae`", "kind"),
            _features("features", "Features of the layer"),
            column("k", pa.int32(), "Active features of a token that were wanted", "features"),
            column("seed", pa.int64(), "Of first weights and of the order of the text", "seed"),
            column("tokens", pa.int64(), "Tokens that the layer was trained on", "tokens", nullable=True),
            column("held_out_tokens", pa.int64(), "Tokens that it was measured on", "tokens"),
            column("l0", pa.float64(), "Mean number of active features of a token", "features"),
            _share("fvu", "Variance of the MLP's output that is left unexplained"),
            column("norm_ratio", pa.float64(), "Norms written over norms that the MLP writes", "ratio"),
            column("bias", pa.float64(), "Squared size written over its product with the MLP's", "ratio"),
            _features("dead", "Features that are active on none of these tokens"),
            _features("dead_1m", "Without an activation in the last million training tokens", True),
            _features("dead_10m", "The same of ten million", True),
            _features("frequent_1", "Features that are active on more than 1% of the tokens"),
            _features("frequent_10", "Features that are active on more than 10% of the tokens"),
            _share("l0_frequent_1", "Activations that are of features above 1%"),
            _share("l0_frequent_10", "Activations that are of features above 10%"),
            _share("decoder_similarity", "Mean largest cosine between a feature's decoder and another's"),
            column(
                "gamma",
                pa.float64(),
                "Size of the mean of what features read, over that of its deviation",
                "ratio",
                nullable=True,
            ),
            column(
                "ce",
                pa.float64(),
                "Cross-entropy of the model with this layer replaced",
                "nats",
                nullable=True,
            ),
            _share("moved", "Features that the finish turned away from what they were", True),
            _share("shared", "Features whose decoder the dictionary named by `against` has too", True),
            _share("shared_random", "The same of random directions of that dictionary's covariance", True),
        ]
    ),
)
