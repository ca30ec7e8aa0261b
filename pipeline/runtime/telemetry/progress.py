"""The progress of a run: a bar on a terminal, a line now and then in a log, or a line of JSON an event."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich import progress as rich_progress

from pipeline.readable import clock
from pipeline.runtime.shards import Counts
from pipeline.runtime.workers import ShardReport
from pipeline.untrusted import Console

LINE_SECONDS = 15.0
"""Pause between two lines in a log."""


@dataclass
class Progress:
    """The count of prompts, and its display. Used as a context manager, which ends the bar."""

    console: Console
    counts: Counts = field(default_factory=Counts)
    """Kept up to date by whoever makes shards, and by `committed`."""

    as_json: bool = False
    """Write every event as a line of JSON, for machines that read logs."""

    notes: list[str] = field(default_factory=list)
    """Events out of the ordinary, for the run's report."""

    working_since: float | None = None
    """Seconds of `time.monotonic` at which the first worker was ready; the rate is measured from there."""

    _bar: rich_progress.Progress | None = None
    _task: rich_progress.TaskID | None = None
    _last_line: float = 0.0

    def __enter__(self) -> Progress:
        self._last_line = time.monotonic()
        if self.console.is_terminal and not self.as_json:
            self._bar = rich_progress.Progress(
                rich_progress.SpinnerColumn(),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("prompts · {task.fields[detail]}"),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.counts.total, detail="starting")
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self) -> None:
        """Start the clock of the rate, if it does not run yet."""
        self.working_since = self.working_since or time.monotonic()

    def committed(self, report: ShardReport, worker: str) -> None:
        """Count a shard that was committed, and log it with its prompts where a log wants that."""
        self.counts.done += report.with_rows
        self.counts.failed += len(report.failed)
        if not self.as_json:
            return
        self.event("shard committed", shard=report.shard, worker=worker, prompt_keys=list(report.done_keys))
        for prompt in report.failed:
            self.event(
                "prompt failed",
                "warning",
                shard=report.shard,
                worker=worker,
                prompt_key=prompt.prompt_key,
                id=prompt.id,
                stage=prompt.stage,
                error_class=prompt.error_class,
                message=prompt.message,
            )

    def note(self, text: str, **fields: Any) -> None:
        """Show something out of the ordinary; `fields` say in a log of JSON what it concerns."""
        self.notes.append(text)
        if self.as_json:
            self.event(text, "warning", **fields)
        else:
            self._line(text, style="yellow")

    def event(self, event: str, level: str = "info", **fields: Any) -> None:
        """Log a line of JSON, if that is how to log."""
        if self.as_json:
            line = {"time": datetime.now(UTC).isoformat(), "level": level, "event": event, **fields}
            self.console.file.write(json.dumps(line, default=str) + "\n")
            self.console.file.flush()

    def show(self) -> None:
        """Bring the bar up to date, or print a line if it is time for one."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.counts.completed, detail=self.detail())
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.event("progress", **self.figures())
            if not self.as_json:
                of = f" of {self.counts.total}" if self.counts.total is not None else ""
                self._line(f"{self.counts.completed}{of} prompts, {self.detail()}")

    def _line(self, text: str, style: str | None = None) -> None:
        # As it is: in a log a line that is broken in two, or that lost its brackets, is no line any more.
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    def figures(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "total": self.counts.total,
            "passed_over": self.counts.passed_over,
            "done": self.counts.done,
            "failed": self.counts.failed,
            "left": self.counts.left,
            "rate": round(self.rate, 3),
        }

    @property
    def rate(self) -> float:
        """Prompts a second since the first worker was ready."""
        if self.working_since is None:
            return 0.0
        return self.counts.new / max(time.monotonic() - self.working_since, 1e-9)

    def detail(self) -> str:
        """Return failures, rate and time left."""
        if not self.rate:
            return "loading" if self.working_since is None else "working"
        left = "" if self.counts.left is None else f", {clock(self.counts.left / self.rate)} left"
        return f"{self.counts.failed} failed, {self.rate:.1f}/s{left}"
