"""A unit in training: its layers, step by step, from the last complete checkpoint to their export.

Whoever gets the unit next goes on with it, to the same bits on a CPU: the order of the text is a function of
the step, and a checkpoint has all the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean

import torch

from pipeline.errors import DamageError, TrainingError
from pipeline.runtime import Member, News, StageError
from pipeline.store import DataFolder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints, Marker
from pipeline.training.distributed.claim import TrainingUnit
from pipeline.training.distributed.export_files import as_tensors
from pipeline.training.distributed.process_group import ProcessGroup
from pipeline.training.distributed.saver import Saver
from pipeline.training.distributed.text import open_shared_tokens
from pipeline.training.export import export_layers
from pipeline.training.group_training import GroupTraining, load_language_model
from pipeline.training.lack_of_memory import is_lack_of_memory
from pipeline.training.recipe import Schedule
from pipeline.training.step_report import StepReport
from pipeline.training.training_state import TrainingState
from pipeline.training.warm_start import load_start

log = logging.getLogger(__name__)

LEAST_SAVE = 0.1
"""Seconds that a checkpoint is taken to cost at least."""

NEWS_SECONDS = 1.0
"""Pause between two news of a unit."""


@dataclass
class UnitTraining:
    """One process's part in the training of a unit."""

    folder: DataFolder
    config: DictionaryConfig
    unit: TrainingUnit
    member: Member
    group: ProcessGroup
    checkpoints: Checkpoints = field(init=False)
    saver: Saver = field(init=False)
    _last_save: float = field(default_factory=time.monotonic)
    _last_step: int = 0
    """Step that was last written, or is being written: the same in all processes."""

    _since: float = field(default_factory=time.monotonic)
    _save_seconds: float = 0.0
    """Seconds that the last checkpoint kept steps waiting."""

    _seconds_before: float = 0.0
    """Seconds that earlier processes took for the steps that count."""

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(self.folder, self.unit.name)
        self.checkpoints.attempt = self.group.from_first("attempt", self.checkpoints.attempt)
        self.saver = Saver(self.checkpoints, self.group)

    def go_on(self) -> bool:
        """Train from the last checkpoint to the export; False if it was asked to stop before.

        Raises:
            StageError: it cannot go on; what it had is kept.
            StoreError: a checkpoint cannot be read or written.

        """
        steps = Schedule.of(self.config).steps
        is_exported = self.group.rank == 0 and self.checkpoints.exported(steps) is not None
        if self.group.any(is_exported)[0]:  # by one that died before it could say so
            return True
        with _hopeless_errors():
            training = self._begin()
            finished = self._train(training)
            if finished:
                written = as_tensors(export_layers(training), training.state())
                self.saver.save(steps, None, *written, seconds=self._seconds())
        self.saver.wait()
        return finished

    def _begin(self) -> GroupTraining:
        """Resume from the last checkpoint that is whole for all, or begin."""
        tokens = open_shared_tokens(self.folder)
        model = load_language_model(self.config)
        if (state := self._last_state()) is not None:
            return GroupTraining.resume(self.config, model, tokens, state, self.group.shard)
        start = None if self.config.start is None else load_start(self.config, model)
        return GroupTraining.begin(self.config, model, tokens, self.unit.layers, self.group.shard, start)

    def _last_state(self) -> TrainingState | None:
        found = self.checkpoints.to_go_on_from(Schedule.of(self.config))
        listed = "\n".join(one.model_dump_json() for one in found)
        listed = self.group.from_first("candidates", listed)  # all look at the same
        candidates = [Marker.model_validate_json(line) for line in listed.splitlines()]
        for marker in candidates:
            state, is_damaged = None, False
            try:
                state = TrainingState(*self.checkpoints.read(marker, self.group.rank))
            except DamageError as error:
                is_damaged = True
                log.warning("the checkpoint of step %d is passed over: %s", marker.step, error)
            if not self.group.any(is_damaged)[0]:
                self.saver.saved = self._last_step = marker.step
                self._seconds_before = marker.seconds
                return state
        if candidates:
            raise DamageError(
                f"no checkpoint of {self.unit.name} in {self.folder.url} is whole: restore one, or delete "
                "the folder to begin anew."
            )
        return None

    def _train(self, training: GroupTraining) -> bool:
        """Take the steps that are left; False if it was asked to stop before the last."""
        self._since = time.monotonic()
        clock = _Clock(self.config, training.group.schedule.steps)
        clock.started(training.group.step_number)
        while not training.done:
            step = training.group.step_number
            stop, is_due = self.group.any(self.member.stop.is_set(), self.is_due(step))
            before_decay = training.group.is_before_decay and step > self._last_step
            if stop or is_due or before_decay:
                self._save(training, before_decay=before_decay)
            if stop:
                self.saver.wait()
                return False
            try:
                report = training.step()
            except TrainingError as error:
                if not isinstance(error.__cause__, torch.OutOfMemoryError):  # which may strike in mid-update
                    self._save(training)
                self.saver.wait()
                raise
            if clock.is_time() or training.done:
                self.member.news = clock.news(report, self.saver.saved)
        self._save(training)
        return True

    def _seconds(self) -> float:
        """Seconds that the steps so far took."""
        return self._seconds_before + time.monotonic() - self._since

    def is_due(self, step: int) -> bool:
        """Tell if it is time for a checkpoint before a step."""
        return time.monotonic() >= self._last_save + self.pause

    @property
    def pause(self) -> float:
        """Seconds between two checkpoints: as asked for, and where machines come and go fewer.

        Where gangs live M seconds and a checkpoint takes C, a pause of sqrt(2 C M) loses least (Young 1974).
        """
        asked, life = 60 * self.config.checkpoint_minutes, self.member.mean_life
        return asked if life is None else min(asked, sqrt(2 * max(self._save_seconds, LEAST_SAVE) * life))

    def _save(self, training: GroupTraining, *, before_decay: bool = False) -> None:
        step, self._last_save = training.group.step_number, time.monotonic()
        if step > self._last_step:
            self._last_step = step
            state = training.state()
            steps = training.group.schedule.steps
            self.saver.save(
                steps,
                step,
                state.tensors,
                state.info,
                before_decay=before_decay,
                seconds=self._seconds(),
            )
            self._save_seconds = time.monotonic() - self._last_save


@contextmanager
def _hopeless_errors() -> Iterator[None]:
    """Turn what stops a unit for good into an error with the way out."""
    try:
        yield
    except TrainingError as error:
        raise StageError("training", error) from error
    except (RuntimeError, MemoryError) as error:
        if not is_lack_of_memory(error):
            raise
        raise StageError(
            "training",
            TrainingError(
                "the memory is used up; the last checkpoint is kept. Lower batch, buffer or features in "
                "another output, cut the layers into more groups, "
                "or give it a larger machine, and start again."
            ),
        ) from error


@dataclass
class _Clock:
    """Speed and time left."""

    config: DictionaryConfig
    steps: int
    _first: int = 0
    _since: float = 0.0
    _told: float = float("-inf")

    def started(self, step: int) -> None:
        """Begin to measure."""
        self._first, self._since = step, time.monotonic()

    def is_time(self) -> bool:
        """Tell if news are due."""
        return time.monotonic() - self._told > NEWS_SECONDS

    def news(self, report: StepReport, saved: int) -> News:
        """Return how far it is."""
        self._told = time.monotonic()
        step = report.step + 1
        seconds = (self._told - self._since) / max(1, step - self._first)
        layers = report.layers
        return News(
            step=step,
            steps=self.steps,
            saved=saved,
            rate=self.config.batch_size / seconds if seconds else 0.0,
            seconds_left=seconds * (self.steps - step),
            figures={
                "FVU": fmean(layer.fvu for layer in layers),
                "L0": fmean(layer.l0 for layer in layers),
                "dead": sum(layer.dead for layer in layers) / (len(layers) * self.config.features),
            },
        )
