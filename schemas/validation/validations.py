"""`validations`: one row a test of a graph, each a set of interventions.

`test` says which: `node_ablation` (one kept feature set to 0), `feature_to_feature` (one kept feature set to
0 over a constrained range, later features watched), `necessity` (the circuit set to 0), `top_necessity` (its
most influential features set to 0), `sufficiency` (all active features outside the circuit set to 0) and
`sufficiency_without_errors` (the errors taken away too). Single ablations and sets are run in several modes:
live, in the model itself, with attention patterns held (`default`) or free (`open`), and in the `replacement`
run, where the dictionary stands in for the MLPs. Columns that a test has no use for are null.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_key
from schemas.table import Table, column, list_of

NAME = pa.dictionary(pa.int8(), pa.string())

_TEST = [
    prompt_key(),
    column("test", NAME, "Name of the test; the page of this table's module lists them", "name"),
    column("number", pa.int32(), "Index of the test among the prompt's tests of its kind", "index"),
    column(
        "mode",
        NAME,
        "Live run: `default` (patterns held), `open` (patterns free), `constrained`; or `replacement`",
        "name",
    ),
]

_WHAT = [
    column("layer", pa.int16(), "Layer of the one feature that was ablated", "index", nullable=True),
    column("position", pa.int32(), "Its position in the prompt", "index", nullable=True),
    column("feature", pa.int32(), "Its index in the layer's transcoder", "index", nullable=True),
    column("activation", pa.float32(), "Its activation", "activation units", nullable=True),
    column("influence", pa.float32(), "Its influence in the graph", "probability", nullable=True),
    column("features", pa.int32(), "Features set to 0 in this test", "features"),
    column("range_start", pa.int16(), "First layer of the constrained range", "index", nullable=True),
    column("range_stop", pa.int16(), "Layer after the last of the range", "index", nullable=True),
]

_EFFECT = [
    column(
        "effect",
        pa.float32(),
        "Sum over the targets of weight times |change of what is explained|: a token's logit less the mean, "
        "a difference, a feature's pre-activation",
        "logits, or the feature's unit",
        nullable=True,
    ),
    column("divergence", pa.float32(), "KL(clean || changed) of the output", "nats", nullable=True),
    column(
        "log_probability",
        pa.float64(),
        "Log-probability of `faithfulness.target` after the change",
        "nats",
        nullable=True,
    ),
    column(
        "value",
        pa.float64(),
        "The first target's logit less its rival's, or what else it explains, after the change",
        "logits, or the feature's unit",
        nullable=True,
    ),
]

_PAIRS = [
    column("pairs", pa.int32(), "Later features whose change was predicted", "features", nullable=True),
    column(
        "spearman",
        pa.float64(),
        "Rank correlation of predicted and observed changes over these features",
        "correlation",
        nullable=True,
    ),
]

_NULL = [
    column("draws", pa.int32(), "Random feature sets instead of the circuit", "sets", nullable=True),
    column(
        "matched",
        pa.float32(),
        "Share of the random features that stand at a layer and position of the features tested",
        "share, 0 to 1",
        nullable=True,
    ),
    column(
        "size_ratio",
        pa.float32(),
        "Summed write norm of the random features over that of the features tested, mean of the draws",
        "ratio",
        nullable=True,
    ),
    column(
        "rank",
        pa.int32(),
        "Place of the circuit among itself and the random sets by `value`: 1 is the strongest effect "
        "(necessity) or the best kept answer (sufficiency)",
        "rank",
        nullable=True,
    ),
    column(
        "null_values",
        list_of(pa.float32()),
        "`value` for each random set",
        "logits, or the feature's unit",
        nullable=True,
    ),
    column(
        "active_null_values",
        list_of(pa.float32()),
        "`value` for each random set of the same summed size from all active features",
        "logits, or the feature's unit",
        nullable=True,
    ),
]

VALIDATIONS = Table(
    name="validations",
    row="a test of a graph by intervention",
    key=("prompt_key", "mode", "test", "number"),
    byte_stream_split=("activation", "influence", "effect", "divergence", "matched", "size_ratio"),
    schema=pa.schema([*_TEST, *_WHAT, *_EFFECT, *_PAIRS, *_NULL]),
)
