"""The server's answers without a server: for an exported file, and for measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.viewer.answers import ANSWERS
from pipeline.viewer.asked import Asked, Viewer
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.packed import Packed, json_bytes
from pipeline.viewer.questions import Question
from pipeline.viewer.states import States


class Session:
    """One output, asked in this process."""

    def __init__(self, url: str) -> None:
        """Open an output, without its model.

        Raises:
            StoreError: there is no sweep.

        """
        self.viewer = Viewer(States(url, None), ViewOptions(model=False, read_only=True), is_exported=True)

    def ask(self, endpoint: str, path: Mapping[str, str] | None = None, **given: Any) -> bytes:
        """Return the bytes of an answer; a parameter may be a list."""
        listed = {name: value if isinstance(value, list) else [str(value)] for name, value in given.items()}
        with self.viewer.states.current.lent() as results:
            asked = Asked(self.viewer, self.viewer.states.current, results, Question(listed, path or {}))
            found = ANSWERS[endpoint](asked)
        return found.encode() if isinstance(found, Packed) else json_bytes(found)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `graphs`."""
        return self.viewer.states.current.results.snapshot.schemas["graphs"].names

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query over the tables."""
        state = self.viewer.states.current
        with state.lent() as results:
            return Asked(self.viewer, state, results, Question()).rows(sql)
