"""`circuit_effects`: the runs behind `circuit_tests`, prompt by prompt."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_id, prompt_key
from schemas.table import Table, column, list_of

EFFECT = pa.struct(
    [
        ("circuit", pa.string()),
        ("test", pa.string()),
        ("mode", pa.string()),
        ("set", pa.string()),
        ("draw", pa.int32()),
        ("supernode", pa.int32()),
        ("dose", pa.float64()),
        ("features", pa.int32()),
        ("value", pa.float64()),
        ("stake", pa.float64()),
        ("flipped", pa.bool_()),
    ]
)

CIRCUIT_EFFECTS = Table(
    name="circuit_effects",
    row="a prompt of the test half, with the runs of it",
    key=("prompt_key",),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            column("clean", pa.float64(), "Answer's logit less the rival's in the clean run", "logits"),
            column(
                "effects",
                list_of(EFFECT),
                "Runs: `circuit`, `test` and `mode` as in `circuit_tests`; `set` that is changed (circuit, "
                "matched, "
                "active, largest or rewired) and the number of its `draw`; the `supernode` that is left "
                "out; the "
                "`dose`; changed or kept `features`; `value`: lost logits, of sufficiency kept ones; "
                "`stake`: logits "
                "lost with all active features at 0; `flipped`: the likeliest token changes",
                "logits",
            ),
        ]
    ),
)
