"""The speed of a training, from a few of its steps taken here: what arithmetic can only assume."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.training.config import DictionaryConfig
from pipeline.training.data import prepare_tokens
from pipeline.training.distributed.claim import TrainingUnit
from pipeline.training.group_training import GroupTraining, load_language_model


@dataclass(frozen=True)
class MeasuredSpeed:
    """What a few steps of one unit took."""

    unit: str
    steps: int
    tokens_per_second: float
    """With a buffer's forward passes in their share."""


def measure_speed(config: DictionaryConfig, unit: TrainingUnit, steps: int) -> MeasuredSpeed:
    """Take a few steps of a unit in this process, on the first text, and keep nothing of them.

    Raises:
        CircuitSweepError: the text or the model cannot be used.

    """
    with TemporaryDirectory(prefix="circuit-sweep-") as folder:
        tokens = prepare_tokens(config, Path(folder), most=2 * max(config.buffer, 2 * config.batch_size))
        training = GroupTraining.begin(config, load_language_model(config), tokens, unit.layers)
        locate = training.rows.order.locate
        of_buffer = next(step for step in count(1) if locate(step)[0] != locate(0)[0])
        started = time.perf_counter()
        training.step()  # computes the first buffer, which serves more steps than are taken here
        first = time.perf_counter() - started
        steps = min(steps, of_buffer - 1, training.group.schedule.steps - 1)
        started = time.perf_counter()
        for _ in range(steps):
            training.step()
        each = (time.perf_counter() - started) / steps
    buffer = max(0.0, first - each) / of_buffer
    return MeasuredSpeed(unit.name, steps, config.batch_size / (each + buffer))
