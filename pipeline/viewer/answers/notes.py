"""`/api/notes`: the labels, groups, views and runs that people wrote; POST writes one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from pipeline.store import Note
from pipeline.viewer.asked import Viewer
from pipeline.viewer.questions import RefusedError


def notes(viewer: Viewer) -> dict[str, Any]:
    """Return the notes that hold, oldest first; they are today's, whatever state the tables are of."""
    return {"notes": [_json(name, note) for name, note in viewer.notes().items()]}


def add_note(viewer: Viewer, body: dict[str, Any]) -> dict[str, Any]:
    """Write a note and return it.

    Raises:
        RefusedError: it is none, or this server writes none.
        StoreError: it cannot be written.

    """
    if viewer.options.read_only:
        raise RefusedError(
            "this server was started with --read-only and writes no notes.",
            "Start it without, or keep the note in the browser.",
            HTTPStatus.FORBIDDEN,
        )
    try:
        note = Note.model_validate({name: value for name, value in body.items() if name != "created"})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RefusedError(
            f"{place}: {first['msg']}.", "A note is {kind, text, members | state | run}."
        ) from error
    if not note.deleted and not note.text.strip() and note.replaces is None:
        raise RefusedError("the note has no text.", "Write one; to delete a note, send `deleted`.")
    if not note.text.strip():  # an emptied label is a deletion
        note = note.model_copy(update={"deleted": True})
    return _json(*viewer.write_note(note))


def _json(name: str, note: Note) -> dict[str, Any]:
    return {"id": name, **note.model_dump(mode="json")}
