"""What a run says to its user: lines on a terminal or in a log, or lines of JSON, and notes that are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.untrusted import Console

LINE_SECONDS = 15.0
"""Pause between two lines of progress in a log."""


@dataclass
class RunLog:
    """Where events go."""

    console: Console

    as_json: bool = field(default=False, kw_only=True)
    """Write every event as a line of JSON, for machines that read logs."""

    notes: list[str] = field(default_factory=list, kw_only=True)
    """Events out of the ordinary, for the run's report."""

    def note(self, text: str, **fields: Any) -> None:
        """Show something out of the ordinary; `fields` say in a log of JSON what it concerns."""
        self.notes.append(text)
        if self.as_json:
            self.event(text, "warning", **fields)
        else:
            self.line(text, style="yellow")

    def event(self, event: str, level: str = "info", **fields: Any) -> None:
        """Log a line of JSON, if that is how to log."""
        if self.as_json:
            line = {"time": datetime.now(UTC).isoformat(), "level": level, "event": event, **fields}
            self.console.file.write(json.dumps(line, default=str) + "\n")
            self.console.file.flush()

    def line(self, text: str, style: str | None = None) -> None:
        """Print a line, as it is."""
        # In a log a line that is broken in two, or that lost its brackets, is no line any more.
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
