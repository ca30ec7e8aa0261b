"""The columns that all notes have."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import column, list_of


def note_columns(text: str) -> list[pa.Field]:
    """Return the columns of every note; `text` says what its words are."""
    return [
        column("note", pa.string(), "Name of the note's file, without its suffix", "name"),
        column("text", pa.string(), text, "text"),
        column("author", pa.string(), "Who wrote it, as they or their system say", "name"),
        column("created", pa.timestamp("us", tz="UTC"), "Time of writing", "UTC time"),
    ]


def members() -> pa.Field:
    """Return the column of what a note is about."""
    return column(
        "members",
        list_of(pa.string()),
        "Features (`2/350`), or nodes of one prompt (`2/350@8`)",
        "feature or node",
    )
