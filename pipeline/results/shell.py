"""The prompt of `circuit-sweep query`: SQL that may span lines, a history, names completed by the tab key."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from rich.text import Text

from pipeline.errors import CircuitSweepError
from pipeline.results.answers import as_table
from pipeline.results.results import Results
from pipeline.untrusted import Console

HELP = """\
A query ends with ; and may span lines.
  .tables         tables that there are
  .schema TABLE   columns of a table
  .versions       published versions, for `--at`
  .help           this
  quit            leave (also exit, .quit, Ctrl-D); Ctrl-C drops a query that is being typed or answered"""

LEAVING = {"quit", "exit", ".quit", ".exit", "quit()", "exit()", "\\q"}
"""Words that end it, in other prompts too; none of them is SQL."""

HISTORY_LINES = 2000

ROWS_SHOWN = 40
"""Most rows of an answer that the prompt shows; it says how many there are."""


class Shell:
    """A prompt that reads queries until the user leaves, and prints their answers."""

    def __init__(self, results: Results, console: Console) -> None:
        self.results = results
        self.console = console
        columns = (name for table in results.tables for name in results.dataset(table).schema.names)
        self.names = sorted({*results.tables, *columns})

    def run(self) -> None:
        """Read, answer, print, until the input ends."""
        interactive = sys.stdin.isatty()
        history = _start_history(self._complete) if interactive else None
        if interactive:
            self.console.print(f"{self.results.url}: end a query with ; or ask for .help", highlight=False)
        try:
            while (query := self._read(interactive)) is not None:
                with suppress(KeyboardInterrupt):
                    self._answer(query)
        finally:
            _save_history(history)

    def _read(self, interactive: bool) -> str | None:
        """Return the next query or command; None when the input ends."""
        lines: list[str] = []
        while True:
            prompt = ("sweep> " if not lines else "   ... ") if interactive else ""
            try:
                line = input(prompt)
            except KeyboardInterrupt:
                self.console.print()
                lines = []
                continue
            except EOFError:
                return "\n".join(lines) if any(lines) else None
            if not lines and line.strip(" ;").lower() in LEAVING:
                return None
            if not lines and line.strip().startswith("."):
                return line.strip()
            lines += [line] if line.strip() or lines else []
            if line.rstrip().endswith(";"):
                return "\n".join(lines)

    def _answer(self, query: str) -> None:
        try:
            if query.startswith("."):
                self._command(query)
            elif (answer := self.results.interruptible(lambda: self._table(query))) is not None:
                self.console.print(Text(answer), soft_wrap=True)
        except CircuitSweepError as error:
            self.console.print(Text(str(error)), style="red", soft_wrap=True)

    def _table(self, query: str) -> str | None:
        answer = self.results.sql(query)
        return None if answer is None else as_table(answer, self.console.width, ROWS_SHOWN)

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        match name:
            case ".schema":
                schema = self.results.dataset(rest.strip(" ;") or self.results.tables[0]).schema
                lines = [f"{field.name}: {field.type}" for field in schema]
            case ".tables":
                lines = self.results.tables
            case ".versions":
                versions = self.results.versions().items()
                lines = [f"{number}: {written:%Y-%m-%d %H:%M:%S} UTC" for number, written in versions]
            case _:
                lines = [HELP]
        self.console.print(Text("\n".join(lines)), soft_wrap=True)

    def _complete(self, text: str, state: int) -> str | None:
        fitting = [name for name in self.names if name.startswith(text)]
        return fitting[state] if state < len(fitting) else None


def history_file() -> Path:
    """Return the file that queries are remembered in, by the convention for what programs keep."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "circuit-sweep" / "query_history"


def _start_history(complete: object) -> Path | None:
    """Load the history and the tab key; None where Python has no readline."""
    try:
        import readline
    except ImportError:
        return None
    path = history_file()
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LINES)
    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n,()=<>.;")
    readline.parse_and_bind("tab: complete")
    return path


def _save_history(path: Path | None) -> None:
    if path is None:
        return
    import readline

    with suppress(OSError):  # a history that cannot be kept is no reason to fail
        path.parent.mkdir(parents=True, exist_ok=True)
        readline.write_history_file(path)
