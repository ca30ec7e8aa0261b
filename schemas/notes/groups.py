"""`groups`: a supernode that somebody made, as people wrote it beside the tables."""

from __future__ import annotations

import pyarrow as pa

from schemas.notes.columns import members, note_columns
from schemas.table import Table

GROUPS = Table(
    name="groups",
    row="a supernode that somebody made",
    key=("note",),
    plain=("text",),
    schema=pa.schema([*note_columns("Name of the supernode"), members()]),
)
