"""A question together with what answers it: a state of the tables, the notes, what may be done here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from threading import Lock
from typing import Any

import pyarrow as pa

from pipeline.results import Results, explained
from pipeline.store import DataFolder, Note, current_notes, read_notes, write_note
from pipeline.viewer.chat import has_chat_template
from pipeline.viewer.live import LiveModel
from pipeline.viewer.matches import Matches
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.questions import Question, RefusedError
from pipeline.viewer.states import State, States


@dataclass
class Viewer:
    """What a server serves: one output, perhaps beside another."""

    states: States
    options: ViewOptions
    other: States | None = None
    """The sweep to compare with (`--diff`)."""

    matches: Matches | None = None
    """Pairs of features of the two sweeps, where their dictionaries differ (`--matches`)."""

    model: LiveModel | None = None
    """The sweep's model; None where the server was started without."""

    is_exported: bool = False
    """True for a page that is written to a file."""

    _notes: dict[str, Note] = field(default_factory=dict)
    """Those that were read: a note never changes."""

    _lock: Lock = field(default_factory=Lock)

    @property
    def url(self) -> str:
        """Folder or `s3://` URL of the output."""
        return self.states.url

    def check_comparable(self) -> None:
        """Refuse to put graphs of two dictionaries into one picture without a match of their features.

        Raises:
            RefusedError: the two sweeps have other dictionaries, and nothing matches them.

        """
        here, there = (dictionary_of(states.current.results) for states in (self.states, self.other))
        if here != there and self.matches is None:
            command = f"circuit-sweep diff {quote(self.url)} {quote(self.other.url)} --output FOLDER"
            raise RefusedError(
                "the two sweeps have different dictionaries: a feature's number means another one in each.",
                f"`{command}` matches their features; then start this page with `--matches FOLDER`.",
                command=command,
            )

    def abilities(self) -> dict[str, Any]:
        """Say what can be done here, and why not what cannot."""
        return {
            "model": self.model is not None,
            "chat": self.model is not None and has_chat_template(self.states.current.results.output),
            "notes": not self.options.read_only,
            "sql": not self.is_exported,
        }

    def notes(self) -> dict[str, Note]:
        """Return the notes that hold now, by id, oldest first."""
        with self._lock:
            return current_notes(read_notes(self._folder, self._notes))

    def write_note(self, note: Note) -> tuple[str, Note]:
        """Write a note; return its id with it.

        Raises:
            StoreError: it cannot be written.

        """
        return write_note(self._folder, note)

    @property
    def _folder(self) -> DataFolder:
        return self.states.current.results.output.folder

    def close(self) -> None:
        """Leave nothing running, and nothing behind."""
        if self.model is not None:
            self.model.close()
            shutil.rmtree(self.model.loaded.folder, ignore_errors=True)


def dictionary_of(results: Results) -> dict[str, str]:
    """Fingerprint of a sweep's transcoders, without their name."""
    return {k: v for k, v in results.output.claimed().run.get("transcoders", {}).items() if k != "name"}


@dataclass(frozen=True)
class Asked:
    """One question, in the thread that answers it."""

    viewer: Viewer
    state: State
    results: Results
    """The state's tables, through this thread's connections."""

    question: Question

    def table(self, sql: str, values: Mapping[str, object] | None = None) -> pa.Table:
        """Return the answer to a query as an Arrow table."""
        with explained():
            return self.results.sql(sql, values).to_arrow_table()

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return the answer to a query as rows."""
        return self.table(sql, values).to_pylist()

    def row(self, sql: str, values: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the first row of an answer."""
        return self.rows(sql, values)[0]

    def summary(self, name: str) -> str:
        """Return the name in SQL of a table of sums over all prompts (`summaries`)."""
        return self.state.summaries.table(name, self.results)

    def has(self, *tables: str) -> bool:
        """Say if the state has these tables."""
        return {*tables} <= {*self.results.tables}

    @property
    def extra_columns(self) -> list[str]:
        """Names of the columns that the user's prompts brought."""
        return self.results.output.extra_columns.names

    def family(self) -> str | None:
        """The column that groups prompts: the one that is asked for, or `family` where there is one."""
        given = self.question.text("group")
        columns = self.results.snapshot.schemas["graphs"].names
        if given and given not in columns:
            raise RefusedError(
                f"group={given[:60]!r} is no column of graphs.", f"There are {', '.join(columns)}."
            )
        return given or ("family" if "family" in columns else None)


def quoted(name: str) -> str:
    """Spell a column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Spell a text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def listed(values: Sequence[int]) -> str:
    """Spell numbers as a list in SQL, such as keys; an empty one holds nothing."""
    return f"({', '.join(map(str, values)) or 'null'})"
