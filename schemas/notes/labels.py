"""`labels`: a label that holds now, as it was written or imported beside the tables."""

from __future__ import annotations

import pyarrow as pa

from schemas.notes.columns import members, note_columns
from schemas.table import Table, column

LABELS = Table(
    name="labels",
    row="a label that holds now",
    key=("note",),
    plain=("text",),
    schema=pa.schema(
        [
            *note_columns("The label"),
            members(),
            column(
                "source",
                pa.string(),
                "Its origin: a file or the model asked; empty for the author",
                "name",
            ),
            column("measure", pa.string(), "Name of what `score` measures; empty without one", "name"),
            column(
                "score",
                pa.float64(),
                "Score on examples that it was not made from; NULL where it has none",
                "by `measure`",
                nullable=True,
            ),
            column("score_low", pa.float64(), "Lower end of its 95% interval", "by `measure`", nullable=True),
            column("score_high", pa.float64(), "Upper end of it", "by `measure`", nullable=True),
            column(
                "control",
                pa.float64(),
                "Score of another feature's label on the same examples",
                "by `measure`",
                nullable=True,
            ),
            column(
                "p_value",
                pa.float64(),
                "One-sided: of a lead over the control as large, if the label said no more than it",
                "probability",
                nullable=True,
            ),
            column(
                "beats_control",
                pa.bool_(),
                "It does, at a false discovery rate of 5% over its source's labels; NULL: not measured",
                "yes or no",
                nullable=True,
            ),
        ]
    ),
)
