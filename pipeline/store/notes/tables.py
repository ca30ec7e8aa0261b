"""Notes as tables, and as a file that travels to another output of the same dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import ValidationError

from pipeline.errors import StoreError
from pipeline.store.files import DataFolder
from pipeline.store.notes.labels import beats_control
from pipeline.store.notes.note import Note, current_notes, read_notes, write_notes
from schemas import NOTE_TABLES

KINDS = {"label": "labels", "group": "groups", "view": "views", "run": "runs"}
"""Table of each kind of note."""


def note_tables(folder: DataFolder) -> dict[str, ds.Dataset]:
    """Return `labels`, `groups`, `views` and `runs`, for queries; those without a note are left out."""
    current = current_notes(read_notes(folder))
    proven = beats_control(current)
    found = {}
    for kind, table in KINDS.items():
        schema = NOTE_TABLES[table].schema
        rows = [
            {
                "note": id,
                "beats_control": proven.get(id),
                **(note.run.model_dump() if note.run else {}),
                **note.model_dump(include={*schema.names}),
            }
            for id, note in current.items()
            if note.kind == kind
        ]
        if rows:
            found[table] = ds.dataset(pa.Table.from_pylist(rows, schema))
    return found


def exported_notes(folder: DataFolder) -> list[dict[str, object]]:
    """Return the notes that hold, as JSON values, for another output of the same dictionary."""
    return [note.model_dump(mode="json") for note in current_notes(read_notes(folder)).values()]


def import_notes(folder: DataFolder, values: Sequence[object]) -> Iterator[str]:
    """Write notes that were exported, each under its own author and time; yield their ids.

    Raises:
        StoreError: one is no note, or cannot be written.

    """
    notes = []
    for number, value in enumerate(values):
        try:
            # It replaces nothing here.
            notes.append(Note.model_validate(value).model_copy(update={"replaces": None}))
        except ValidationError as error:
            raise StoreError(f"note {number} of the file is none: {error.errors()[0]['msg']}.") from error
    yield from write_notes(folder, notes)
