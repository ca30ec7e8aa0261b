"""`pairs` and `pair_effects`: what a prompt's circuit carries of its difference from the partner.

A prompt is run with features set to what they are on its partner (resample ablation), and the fall of the
value is given as a share of the whole difference: 1 is all of it, 0 nothing; below 0 away from the partner,
above 1 beyond it. The value is the logit of the prompt's answer less that of the partner's. `held_` are runs
with the prompt's own attention patterns held, `free_` runs with nothing held. `zero` sets the same features
to 0 instead, which is what one does without a partner.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_key
from schemas.table import Table, column

NAME = pa.dictionary(pa.int8(), pa.string())

SHARE = "share, 1 is the whole difference"


def _recovered(name: str, what: str, run: str) -> pa.Field:
    meaning = f"Share of the difference recovered by {what}, {run}; null where nothing is at stake"
    return column(name, pa.float64(), meaning, SHARE, nullable=True)


_RUNS = {"held": "attention patterns held", "free": "attention patterns free"}

_CIRCUIT = [
    _recovered(f"{run}_{name}", what, how)
    for run, how in _RUNS.items()
    for name, what in (
        ("recovered", "setting the circuit's features to the partner's activations"),
        ("zero_recovered", "setting them to 0 instead"),
        ("all_recovered", "setting every feature that is active on either prompt to the partner's"),
    )
]

PAIRS = Table(
    name="pairs",
    row="a prompt and its partner",
    key=("prompt_key",),
    schema=pa.schema(
        [
            prompt_key(),
            column("id", pa.string(), "The prompt's name, as in `graphs`", "name"),
            column("partner_key", pa.int64(), "`prompt_key` of the partner", "key"),
            column("partner_id", pa.string(), "The partner's name", "name"),
            column("pair", pa.string(), "Value of the column that the two share", "as given"),
            column(
                "role",
                pa.string(),
                "The prompt's role in it, where there are roles",
                "as given",
                nullable=True,
            ),
            column("answer", pa.int32(), "Token of the prompt's answer: its first target", "token id"),
            column("rival", pa.int32(), "Token that is subtracted: the partner's first target", "token id"),
            column("value", pa.float64(), "Logit of the answer less the rival's, in the clean run", "logits"),
            column("partner_value", pa.float64(), "The same on the partner, in its clean run", "logits"),
            column("stake", pa.float64(), "`value` less `partner_value`: the whole difference", "logits"),
            column("is_at_stake", pa.bool_(), "True where it is at least 0.1 logits", "true or false"),
            column(
                "features",
                pa.int32(),
                "Features of the circuit: those that pruning kept on either prompt",
                "features",
            ),
            column("changed", pa.int32(), "Those of them whose activations differ", "features"),
            column(
                "unaligned",
                pa.int32(),
                "Kept features left out, at positions that only one prompt has",
                "features",
            ),
            *_CIRCUIT,
            column("interventions", pa.int32(), "Rows of interventions that were run", "rows"),
            column("seconds", pa.float64(), "Wall time of the prompt's runs", "seconds"),
            column("run_key", pa.int64(), "64 bits of a hash over the sweep and the options", "key"),
            column("created", pa.timestamp("us", tz="UTC"), "Time of the runs", "UTC time"),
        ]
    ),
)

_EFFECTS = [
    part
    for run, how in _RUNS.items()
    for part in (
        column(
            f"{run}_effect",
            pa.float64(),
            f"Fall of the value, {how}; null where there is no such run",
            "logits",
            nullable=True,
        ),
        _recovered(f"{run}_recovered", "the patch", how),
        _recovered(f"{run}_zero_recovered", "setting the feature to 0 instead; null for paths", how),
    )
]

PAIR_EFFECTS = Table(
    name="pair_effects",
    row="a patch of one feature, or of one path between two nodes",
    key=("prompt_key", "patch", "number"),
    byte_stream_split=(
        "activation",
        "partner_activation",
        "influence",
        "target_activation",
        "target_patched",
    ),
    schema=pa.schema(
        [
            prompt_key(),
            column(
                "patch",
                NAME,
                "`feature`: it takes the partner's activation, and all that follows answers. `path`: only "
                "the target hears of it, directly, and takes the activation that it then has; of a target "
                "that is the output, the direct effect with norms held too",
                "name",
            ),
            column("number", pa.int32(), "Index of the patch among the prompt's of its kind", "index"),
            column("layer", pa.int16(), "Layer of the feature, a path's source", "index"),
            column("position", pa.int32(), "Its position in the prompt", "index"),
            column("position_from_end", pa.int32(), "Tokens between it and the end of the prompt", "tokens"),
            column("feature", pa.int32(), "Its index in the layer's transcoder", "index"),
            column(
                "activation",
                pa.float32(),
                "Its activation on the prompt; 0 where it is not active",
                "activation units",
            ),
            column("partner_activation", pa.float32(), "Its activation on the partner", "activation units"),
            column(
                "influence",
                pa.float32(),
                "Of a feature its influence in the graph (of the two, the larger); of a path the influence "
                "that flows over the edge",
                "probability",
            ),
            column(
                "target_kind", pa.string(), "Kind of a path's target: feature or logit", "name", nullable=True
            ),
            column(
                "target_layer",
                pa.int16(),
                "Layer of a path's target; the number of layers for the output",
                "index",
                nullable=True,
            ),
            column("target_position", pa.int32(), "Position of a path's target", "index", nullable=True),
            column(
                "target_feature",
                pa.int32(),
                "Index of a path's target in its layer's transcoder",
                "index",
                nullable=True,
            ),
            column(
                "target_activation",
                pa.float32(),
                "Activation of a path's target on the prompt",
                "activation units",
                nullable=True,
            ),
            column(
                "target_patched",
                pa.float32(),
                "Activation that it takes when it hears of the source alone",
                "activation units",
                nullable=True,
            ),
            *_EFFECTS,
        ]
    ),
)
