"""Where a sweep stands: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich import progress as rich_progress
from rich.console import Console

LINE_SECONDS = 15.0
"""Pause between two lines in a log."""


@dataclass
class Progress:
    """Counts prompts and shows them. Used as a context manager, which ends the bar."""

    console: Console
    total: int | None = None
    """Prompts to read, if known."""

    skipped: Callable[[], int] = lambda: 0
    """Prompts passed over so far: done before, or repeated."""

    graphs: int = 0
    failures: int = 0
    notes: list[str] = field(default_factory=list)
    """What was out of the ordinary, for the run's report."""

    working_since: float | None = None
    """When the first worker was ready; the rate is measured from there."""

    _bar: rich_progress.Progress | None = None
    _task: rich_progress.TaskID | None = None
    _last_line: float = 0.0

    def __enter__(self) -> Progress:
        self._last_line = time.monotonic()
        if self.console.is_terminal:
            self._bar = rich_progress.Progress(
                rich_progress.SpinnerColumn(),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("prompts · {task.fields[detail]}"),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.total, detail="starting")
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self) -> None:
        """Start the clock of the rate, if it does not run yet."""
        self.working_since = self.working_since or time.monotonic()

    def add(self, graphs: int, failures: int) -> None:
        """Count a committed shard."""
        self.graphs += graphs
        self.failures += failures

    def note(self, text: str) -> None:
        """Show something out of the ordinary."""
        self.notes.append(text)
        self.console.print(text, style="yellow", highlight=False)

    def show(self) -> None:
        """Bring the bar up to date, or print a line if it is time for one."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.completed, detail=self.detail())
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            of = f" of {self.total}" if self.total is not None else ""
            self.console.print(f"{self.completed}{of} prompts, {self.detail()}", highlight=False)

    @property
    def completed(self) -> int:
        """Prompts that need nothing more."""
        return self.graphs + self.failures + self.skipped()

    def detail(self) -> str:
        """Return failures, rate and time left."""
        worked = self.graphs + self.failures
        if self.working_since is None or not worked:
            return "loading" if self.working_since is None else "working"
        rate = worked / (time.monotonic() - self.working_since)
        left = "" if self.total is None else f", {clock((self.total - self.completed) / rate)} left"
        return f"{self.failures} failed, {rate:.1f}/s{left}"


def clock(seconds: float) -> str:
    """Write a duration as people read it."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
