"""News of long work: a bar for each unit at work, the run state in the lease, and gauges of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Gauge
from rich import progress as rich_progress

from pipeline.readable import clock
from pipeline.runtime.gangs.pool import Gang, GangPool
from pipeline.runtime.gangs.schedule import GangSchedule
from pipeline.runtime.gangs.work import News
from pipeline.runtime.telemetry import LINE_SECONDS, NOTES, RunLog
from pipeline.store.commits import Lease

PREFIX = "circuit_sweep_training_"


class UnitState(BaseModel):
    """One unit, as its driver sees it."""

    model_config = ConfigDict(frozen=True)

    unit: str
    activity: Literal["waiting", "starting", "working", "leaving", "done", "failed"]
    workers: str = ""
    since: datetime | None = None
    step: int = 0
    steps: int = 0
    saved: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    figures: dict[str, float] = {}
    reason: str | None = None
    """Why it was given up."""


class GangRunState(BaseModel):
    """A run of long work, for whoever can read the output and cannot see its driver."""

    model_config = ConfigDict(frozen=True)

    started: datetime
    state: Literal["starting", "working", "stopping", "finished", "interrupted", "failed"]
    deaths: int
    units: tuple[UnitState, ...]
    notes: tuple[str, ...]


def announce(
    lease: Lease, state: str, schedule: GangSchedule, pool: GangPool, progress: GangProgress
) -> None:
    """Let the lease say how far every unit is."""
    units = [
        *(UnitState(unit=name, activity="done") for name in schedule.done),
        *(UnitState(unit=name, activity="failed", reason=why) for name, why in schedule.failed.items()),
        *map(_state_of, pool.gangs),
        *(UnitState(unit=unit.name, activity="waiting") for unit in schedule.waiting),
    ]
    run = GangRunState(
        started=progress.started,
        state=state,
        deaths=schedule.deaths,
        units=tuple(sorted(units, key=lambda unit: unit.unit)),
        notes=tuple(progress.notes[-NOTES:]),
    )
    lease.say(run.model_dump(mode="json"))


def _state_of(gang: Gang) -> UnitState:
    news = gang.news
    working = "working" if gang.is_working and news.steps else "starting"
    return UnitState(
        unit=gang.unit.name,
        activity="leaving" if gang.is_leaving else working,
        workers=gang.name,
        since=gang.since,
        step=news.step,
        steps=news.steps,
        saved=news.saved,
        rate=news.rate,
        seconds_left=news.seconds_left,
        figures=dict(news.figures),
    )


def told(news: News) -> str:
    """Say how far a unit is, in a line."""
    if not news.steps:
        return "loading"
    figures = [f"{name} {value:.3g}" for name, value in news.figures.items()]
    rate = [f"{news.rate:,.0f} tokens/s"] if news.rate else []
    left = [f"{clock(news.seconds_left)} left"] if news.seconds_left is not None else []
    return ", ".join(figures + rate + left) or "working"


@dataclass
class GangProgress(RunLog):
    """A bar for each unit at work, or a line now and then. Used as a context manager, which ends the bars."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    _bars: rich_progress.Progress | None = None
    _tasks: dict[str, rich_progress.TaskID] = field(default_factory=dict)
    _last_line: float = field(default_factory=time.monotonic)

    def __enter__(self) -> GangProgress:
        if self.console.is_terminal and not self.as_json:
            self._bars = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("steps · {task.fields[detail]}"),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def finished(self, unit: str, news: News) -> None:
        """Say that a unit is done, and what was measured of it."""
        self.event("unit finished", unit=unit, step=news.step, **news.figures)
        if not self.as_json:
            figures = ", ".join(f"{name} {value:.3g}" for name, value in news.figures.items())
            self.line(f"{unit} is done{f': {figures}' if figures else ''}")

    def show(self, pool: GangPool, schedule: GangSchedule) -> None:
        """Bring the bars up to date, or print lines if it is time for them."""
        if self._bars is not None:
            self._show_bars(self._bars, pool.gangs)
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self._lines(pool.gangs, schedule)

    def _show_bars(self, bars: rich_progress.Progress, gangs: Sequence[Gang]) -> None:
        at_work = {gang.unit.name: gang for gang in gangs}
        for gone in set(self._tasks) - set(at_work):
            bars.remove_task(self._tasks.pop(gone))
        for name, gang in at_work.items():
            if name not in self._tasks:
                self._tasks[name] = bars.add_task(name, total=None, detail="starting")
            news = gang.news
            bars.update(self._tasks[name], completed=news.step, total=news.steps or None, detail=told(news))

    def _lines(self, gangs: Sequence[Gang], schedule: GangSchedule) -> None:
        for gang in gangs:
            news = gang.news
            self.event(
                "progress",
                unit=gang.unit.name,
                step=news.step,
                steps=news.steps,
                saved=news.saved,
                rate=news.rate,
                seconds_left=news.seconds_left,
                **news.figures,
            )
            if not self.as_json:
                at = f"step {news.step:,} of {news.steps:,}, " if news.steps else ""
                self.line(f"{gang.unit.name}: {at}{told(news)}")
        if not gangs and not self.as_json:
            self.line(f"{len(schedule.waiting)} units wait for a machine")


class GangMetrics:
    """Gauges of long work; `output` tells several on one cluster apart, `unit` the units of one."""

    def __init__(self, output: str) -> None:
        self._tags = {"output": output}
        self._deaths = RayCounter(f"{PREFIX}deaths", "Gangs that died", ("output",))
        self._step = Gauge(f"{PREFIX}step", "Steps taken", ("output", "unit"))
        self._saved = Gauge(f"{PREFIX}saved_step", "Step of the last complete checkpoint", ("output", "unit"))
        self._rate = Gauge(f"{PREFIX}tokens_per_second", "Tokens a second", ("output", "unit"))
        self._figures = Gauge(
            f"{PREFIX}figure", "FVU, L0 and dead share, by name", ("output", "unit", "name")
        )

    def died(self) -> None:
        """Count a death."""
        self._deaths.inc(tags=self._tags)

    def show(self, gangs: Iterable[Gang]) -> None:
        """Say how far each gang is."""
        for gang in gangs:
            tags, news = self._tags | {"unit": gang.unit.name}, gang.news
            self._step.set(news.step, tags)
            self._saved.set(news.saved, tags)
            self._rate.set(news.rate, tags)
            for name, value in news.figures.items():
                self._figures.set(value, tags | {"name": name})
