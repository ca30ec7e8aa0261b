"""Notes: labels, groups, saved views and saved runs that people write beside the tables, one small file each.

A note is created and never changed: an edit is a new note that `replaces` the old one, and so is a deletion.
Two people at once lose nothing: of two notes that replace the same one both hold. It works wherever a sweep's
output lies, since creating a file that is not there is all that it needs. Nothing that is computed rests on
notes.
"""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from xxhash import xxh3_64_hexdigest

from pipeline.errors import DamageError, StoreError
from pipeline.store.files import DataFolder
from pipeline.store.layout import NOTES, note_id, note_name
from pipeline.store.recorded_run import Member, RecordedRun, Text
from schemas import NOTE_TABLES

logger = logging.getLogger(__name__)

NOTE_BYTES = 256 << 10
"""Largest note."""

KINDS = {"label": "labels", "group": "groups", "view": "views", "run": "runs"}
"""Table of each kind of note."""


class Note(BaseModel):
    """A note as it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["label", "group", "view", "run"]
    text: Annotated[Text, Field(max_length=10_000)] = ""
    """The label, or the name of the group, view or run."""

    members: Annotated[tuple[Member, ...], Field(max_length=5_000)] = ()
    """Features, or nodes of one prompt, that it is about."""

    state: Annotated[Text, Field(max_length=100_000)] = ""
    """A view's or a run's address within the page."""

    run: RecordedRun | None = None
    """What a run was answered."""

    author: Annotated[Text, Field(max_length=200)] = ""
    created: datetime | None = None
    replaces: Annotated[str, Field(max_length=100)] | None = None
    """Id of the note that no longer holds."""

    deleted: bool = False
    """True if nothing takes the place of what it replaces."""

    @model_validator(mode="after")
    def _has_its_run(self) -> Note:
        if (self.run is not None) != (self.kind == "run") and not self.deleted:
            raise ValueError("a note of the kind run, and no other, has a `run`: what was asked and answered")
        return self


def write_note(folder: DataFolder, note: Note) -> tuple[str, Note]:
    """Write a note, with its author and time where it has none; return its id with it.

    Raises:
        StoreError: it cannot be written.

    """
    filled = note.model_copy(
        update={"author": note.author or _user(), "created": note.created or datetime.now(UTC)}
    )
    data = filled.model_dump_json(indent=1).encode()
    name = note_name(filled.created, xxh3_64_hexdigest(data))
    # The same bytes of the same moment are the same note: importing twice writes once.
    folder.create(name, data)
    return note_id(name), filled


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""


def note_names(folder: DataFolder) -> list[str]:
    """Return the files of all notes, oldest first."""
    return sorted(entry.name for entry in folder.list(NOTES) if entry.name.endswith(".json"))


def read_note(folder: DataFolder, name: str) -> Note:
    """Read one note.

    Raises:
        DamageError: the file holds none.
        StoreError: it cannot be read.

    """
    return _parsed(folder, name, folder.read(name, NOTE_BYTES))


def _parsed(folder: DataFolder, name: str, data: bytes) -> Note:
    try:
        return Note.model_validate_json(data)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DamageError(f"{folder.url}/{name} is no note that can be read: {reason}. Delete it.") from error


def read_notes(folder: DataFolder, known: dict[str, Note] | None = None) -> dict[str, Note]:
    """Read all notes by their ids, oldest first; `known` are not read again. Damaged ones are passed over."""
    known = {} if known is None else known
    names = note_names(folder)
    missing = [name for name in names if note_id(name) not in known]
    for name, data in zip(missing, folder.read_many(missing), strict=True):
        try:
            known[note_id(name)] = _parsed(folder, name, data or b"")
        except DamageError as error:
            logger.warning("%s", error)
    there = {note_id(name) for name in names}
    return {id: known[id] for id in sorted(known) if id in there}


def current_notes(notes: dict[str, Note]) -> dict[str, Note]:
    """Return the notes that hold: no other replaces them, and they are no deletions."""
    replaced = {note.replaces for note in notes.values()}
    return {id: note for id, note in notes.items() if id not in replaced and not note.deleted}


def note_tables(folder: DataFolder) -> dict[str, ds.Dataset]:
    """Return `labels`, `groups`, `views` and `runs`, for queries; those without a note are left out."""
    current = current_notes(read_notes(folder))
    found = {}
    for kind, table in KINDS.items():
        schema = NOTE_TABLES[table].schema
        rows = [
            {"note": id, **(note.run.model_dump() if note.run else {}), **note.model_dump()}
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
    for note in notes:
        yield write_note(folder, note)[0]
