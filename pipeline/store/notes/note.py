"""Notes: labels, groups, saved views and runs beside the tables, in files that are created and never changed.

An edit is a new note that `replaces` the old one, and so is a deletion. Two people at once lose nothing: of
two notes that replace the same one both hold. It works wherever a sweep's output lies, since creating a file
that is not there is all that it needs. A file holds one note, as a page writes them, or a list of many, as an
import does: thousands of labels are some dozen files. Nothing that is computed rests on notes.
"""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from xxhash import xxh3_64_hexdigest

from pipeline.errors import DamageError
from pipeline.store.files import DataFolder
from pipeline.store.layout import NOTES, note_id, note_name
from pipeline.store.recorded_run import Member, RecordedRun, Text

logger = logging.getLogger(__name__)

NOTE_BYTES = 256 << 10
"""Largest file of notes."""


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

    source: Annotated[Text, Field(max_length=500)] = ""
    """Origin of a label that nobody wrote here: a file's, or the model that was asked."""

    measure: Annotated[Text, Field(max_length=100)] = ""
    """Name of what `score` measures."""

    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Score of a label on examples that it was not made from, in the units of its measure."""

    score_low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Lower end of the score's 95% interval."""

    score_high: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Upper end."""

    control: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Score, on the same examples, of the label of another feature."""

    p_value: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability of a lead over the control as large as this one, if the label said no more than it."""

    @model_validator(mode="after")
    def _has_its_run(self) -> Note:
        if (self.run is not None) != (self.kind == "run") and not self.deleted:
            raise ValueError("a note of the kind run, and no other, has a `run`: what was asked and answered")
        return self


_FILE: TypeAdapter[Note | list[Note]] = TypeAdapter(Note | list[Note])


def write_note(folder: DataFolder, note: Note) -> tuple[str, Note]:
    """Write a note, with its author and time where it has none; return its id with it.

    Raises:
        StoreError: it cannot be written.

    """
    filled = _filled(note)
    data = _written(filled)
    name = note_name(filled.created, xxh3_64_hexdigest(data))
    # The same bytes of the same moment are the same note: importing twice writes once.
    folder.create(name, data)
    return note_id(name), filled


def write_notes(folder: DataFolder, notes: Sequence[Note]) -> list[str]:
    """Write many notes in few files; return their ids.

    Raises:
        StoreError: they cannot be written.

    """
    ids = []
    for batch in _batches([_filled(note) for note in notes]):
        data = b"[" + b",".join(map(_written, batch)) + b"]"
        name = note_name(batch[0].created or datetime.now(UTC), xxh3_64_hexdigest(data))
        folder.create(name, data)
        ids += [f"{note_id(name)}.{number}" for number in range(len(batch))]
    return ids


def _batches(notes: Sequence[Note]) -> Iterator[list[Note]]:
    batch: list[Note] = []
    size = 2
    for note in notes:
        more = len(_written(note)) + 1
        if batch and size + more > NOTE_BYTES:
            yield batch
            batch, size = [], 2
        batch.append(note)
        size += more
    if batch:
        yield batch


def _filled(note: Note) -> Note:
    return note.model_copy(
        update={"author": note.author or _user(), "created": note.created or datetime.now(UTC)}
    )


def _written(note: Note) -> bytes:
    return note.model_dump_json(indent=1).encode()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""


def note_names(folder: DataFolder) -> list[str]:
    """Return the files of all notes, oldest first."""
    return sorted(entry.name for entry in folder.list(NOTES) if entry.name.endswith(".json"))


def read_note(folder: DataFolder, name: str) -> dict[str, Note]:
    """Read one file of notes, by their ids.

    Raises:
        DamageError: the file holds none.
        StoreError: it cannot be read.

    """
    return _parsed(folder, name, folder.read(name, NOTE_BYTES))


def _parsed(folder: DataFolder, name: str, data: bytes) -> dict[str, Note]:
    try:
        found = _FILE.validate_json(data)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DamageError(f"{folder.url}/{name} is no note that can be read: {reason}. Delete it.") from error
    id = note_id(name)
    return {id: found} if isinstance(found, Note) else {f"{id}.{n}": note for n, note in enumerate(found)}


def read_notes(folder: DataFolder, known: dict[str, Note] | None = None) -> dict[str, Note]:
    """Read all notes by their ids, oldest first; `known` are not read again. Damaged ones are passed over."""
    known = {} if known is None else known
    names = note_names(folder)
    read = {_file(id) for id in known}
    missing = [name for name in names if note_id(name) not in read]
    for name, data in zip(missing, folder.read_many(missing), strict=True):
        try:
            known |= _parsed(folder, name, data or b"")
        except DamageError as error:
            logger.warning("%s", error)
    there = {note_id(name) for name in names}
    ids = sorted((id for id in known if _file(id) in there), key=lambda id: _in_order(id, known[id]))
    return {id: known[id] for id in ids}


def _file(id: str) -> str:
    """Return the id of the file that holds a note."""
    return id.partition(".")[0]


def _in_order(id: str, note: Note) -> tuple[datetime, str, int]:
    file, _, number = id.partition(".")
    return note.created or datetime.min.replace(tzinfo=UTC), file, int(number or 0)


def current_notes(notes: dict[str, Note]) -> dict[str, Note]:
    """Return the notes that hold: no other replaces them, and they are no deletions."""
    replaced = {note.replaces for note in notes.values()}
    return {id: note for id, note in notes.items() if id not in replaced and not note.deleted}
