"""`steering`: what a model says while features are held at values, one row a prompt and strength."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import Table, column, list_of

LOGIT = pa.struct(
    [
        ("token_id", pa.int32()),
        ("token", pa.string()),
        ("logit", pa.float32()),
        ("change", pa.float32()),
    ]
)

STEERING = Table(
    name="steering",
    row="a prompt continued at one strength of an intervention",
    key=("prompt", "intervention", "strength"),
    plain=("prompt", "continuation"),
    schema=pa.schema(
        [
            column("prompt", pa.string(), "The prompt", "text"),
            column(
                "intervention", pa.string(), "Features and values, as given: `2/350=4`, `2/350@8=x0`", "text"
            ),
            column(
                "strength",
                pa.float64(),
                "Multiple of the values (or of a factor's distance from 1); 0 is the clean model",
                "multiple",
            ),
            column("continuation", pa.string(), "Generated text", "text"),
            column("token_ids", list_of(pa.int32()), "The same as vocabulary ids", "token id"),
            column(
                "logits",
                list_of(LOGIT),
                "Chosen tokens with their logit for the first new token, and its change by the intervention",
                "logits",
            ),
            column("temperature", pa.float64(), "Of the sampling; 0 is greedy", "temperature"),
            column("seed", pa.int64(), "Of the sampling", "seed"),
        ]
    ),
)
