"""`views`: a saved view of a page, as people wrote it beside the tables."""

from __future__ import annotations

import pyarrow as pa

from schemas.notes.columns import note_columns
from schemas.table import Table, column

VIEWS = Table(
    name="views",
    row="a saved view of a page",
    key=("note",),
    plain=("text",),
    schema=pa.schema(
        [
            *note_columns("Name of the view"),
            column(
                "state", pa.string(), "The page's address, without the server's: all that it showed", "text"
            ),
        ]
    ),
)
