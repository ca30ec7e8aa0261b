"""`runs`: a what-if of a page that somebody saved, with what the model answered."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_id
from schemas.notes.columns import note_columns
from schemas.table import Table, column, list_of

TOKEN = pa.struct(
    [
        ("token_id", pa.int32()),
        ("label", pa.string()),
        ("before", pa.float64()),
        ("after", pa.float64()),
        ("logit_change", pa.float64()),
    ]
)

ACTIVATION = pa.struct([("node", pa.string()), ("before", pa.float64()), ("after", pa.float64())])

RUNS = Table(
    name="runs",
    row="a what-if that somebody saved",
    key=("note",),
    plain=("text",),
    schema=pa.schema(
        [
            *note_columns("Name of the run"),
            prompt_id(),
            column(
                "mode",
                pa.string(),
                "What was held: `direct` attention, `full` nothing, `replacement`",
                "name",
            ),
            column(
                "tokens",
                list_of(TOKEN),
                "Tokens that moved most: probability before and after, change of the centred logit",
                "probability, logit",
            ),
            column("activations", list_of(ACTIVATION), "Features that changed most", "activation"),
            column("printed", pa.string(), "Python that repeats it", "text"),
            column("state", pa.string(), "The page's address with its changes", "text"),
        ]
    ),
)
