"""The progress of a run: a bar on a terminal, a line now and then in a log, or a line of JSON an event."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich import progress as rich_progress

from pipeline.readable import clock
from pipeline.runtime.shards import Counts
from pipeline.runtime.telemetry.run_log import LINE_SECONDS, RunLog
from pipeline.runtime.workers import ShardReport


@dataclass
class Progress(RunLog):
    """The count of prompts, and its display. Used as a context manager, which ends the bar."""

    counts: Counts = field(default_factory=Counts)
    """Kept up to date by whoever makes shards, and by `committed`."""

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

    def show(self) -> None:
        """Bring the bar up to date, or print a line if it is time for one."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.counts.completed, detail=self.detail())
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.event("progress", **self.figures())
            if not self.as_json:
                of = f" of {self.counts.total}" if self.counts.total is not None else ""
                self.line(f"{self.counts.completed}{of} prompts, {self.detail()}")

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
