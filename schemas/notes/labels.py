"""`labels`: a label that holds now, as people wrote it beside the tables."""

from __future__ import annotations

import pyarrow as pa

from schemas.notes.columns import members, note_columns
from schemas.table import Table

LABELS = Table(
    name="labels",
    row="a label that holds now",
    key=("note",),
    plain=("text",),
    schema=pa.schema([*note_columns("The label"), members()]),
)
