"""`hypothesis_groups` and `hypothesis_prompts`: what `circuit-sweep test` finds, by group and by prompt."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_key
from schemas.table import Table, column, list_of

UNIT = "logits, or the feature's unit"


def _interval(name: str, meaning: str) -> list[pa.Field]:
    """Return a mean over clusters with its interval, which one cluster does not have."""
    return [
        column(name, pa.float64(), f"{meaning}: mean over clusters", UNIT, nullable=True),
        column(f"{name}_low", pa.float64(), "Lower end of its 95% interval", UNIT, nullable=True),
        column(f"{name}_high", pa.float64(), "Upper end of its 95% interval", UNIT, nullable=True),
    ]


_GROUP = [
    column("prompt_group", pa.string(), "The queries' group of prompts, or `all`", "name"),
    column(
        "changed",
        pa.string(),
        "Features that were changed: chosen, matched, active, largest, random or mixed",
        "name",
    ),
    column(
        "dose",
        pa.float64(),
        "Of chosen features: factor of their activation, or multiple of the values; NULL as the hypothesis "
        "says",
        "multiple",
        nullable=True,
    ),
    column("prompts", pa.int64(), "Prompts on which a chosen feature was changed", "prompts"),
    column("left_out", pa.int64(), "Prompts on which none of the chosen features is active", "prompts"),
    column("clusters", pa.int64(), "Clusters of these prompts, each one observation", "clusters"),
    column("features", pa.float64(), "Chosen features that were changed on a prompt, median", "features"),
    column("value", pa.float64(), "Answer's logit less the rival's in the clean run, mean", UNIT),
]

_VERDICT = [
    column(
        "size_ratio",
        pa.float64(),
        "Summed write norm of these sets over that of the chosen features; below 0.95 features ran out",
        "ratio",
        nullable=True,
    ),
    column(
        "p_value", pa.float64(), "Chance of the chosen effect among these draws", "probability", nullable=True
    ),
    column(
        "q_value",
        pa.float64(),
        "Of matched sets: false discovery rate over the groups at which this one counts",
        "share, 0 to 1",
        nullable=True,
    ),
    column("flipped", pa.float64(), "Prompts whose likeliest token changes", "share, 0 to 1", nullable=True),
    column("moved", pa.float64(), "Prompts where it becomes the rival", "share, 0 to 1", nullable=True),
    column(
        "is_shown",
        pa.bool_(),
        "Of chosen features: True if they do more than matched sets, by interval and at a q-value of 0.05",
        "true or false",
        nullable=True,
    ),
]

HYPOTHESIS_GROUPS = Table(
    name="hypothesis_groups",
    row="one way of changing features, over a group of prompts",
    key=("prompt_group", "changed", "dose"),
    schema=pa.schema(
        [
            *_GROUP,
            *_interval("effect", "Fall of the value"),
            *_interval("more", "Fall with the chosen features less that with these"),
            *_VERDICT,
        ]
    ),
)

DOSE = pa.struct([("dose", pa.float64()), ("effect", pa.float64())])


def _draws(kind: str, meaning: str, nullable: bool = False) -> pa.Field:
    return column(f"{kind}_effects", list_of(pa.float64()), meaning, UNIT, nullable=nullable)


HYPOTHESIS_PROMPTS = Table(
    name="hypothesis_prompts",
    row="a prompt under all changes of a hypothesis",
    key=("prompt_key",),
    schema=pa.schema(
        [
            prompt_key(),
            column("id", pa.string(), "The user's name for the prompt, as in `graphs`", "name"),
            column("prompt_group", pa.string(), "The query's group of prompts, or `all`", "name"),
            column("cluster", pa.string(), "Prompts that share it count as one observation", "name"),
            column("features", pa.int64(), "Chosen features that were changed", "features"),
            column("answer", pa.int64(), "Token whose logit is measured", "token id"),
            column("rival", pa.int64(), "Token whose logit is subtracted", "token id", nullable=True),
            column("value", pa.float64(), "Answer's logit less the rival's in the clean run", UNIT),
            column("prediction", pa.int64(), "Likeliest token of the clean run", "token id"),
            column("chosen_prediction", pa.int64(), "The same with the chosen features changed", "token id"),
            column("effect", pa.float64(), "Fall of the value with the chosen features changed", UNIT),
            column("doses", list_of(DOSE), "The same at other doses", UNIT),
            column("largest_effect", pa.float64(), "The same of as many features that write most", UNIT),
            _draws("matched", "The same of each draw of matched sets"),
            _draws("active", "The same of each draw from all active features"),
            _draws("random", "The same of each draw of as many active features"),
            _draws("mixed", "The same of each swap with features put in on other prompts", nullable=True),
        ]
    ),
)

HYPOTHESIS_TABLES: dict[str, Table] = {table.name: table for table in (HYPOTHESIS_GROUPS, HYPOTHESIS_PROMPTS)}
