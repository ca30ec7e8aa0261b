"""The speed of a training, from a few of its steps taken here: what arithmetic can only assume."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
    """Take a few steps of a unit in this process, and keep nothing of them.

    Raises:
        CircuitSweepError: the text or the model cannot be used.

    """
    with TemporaryDirectory(prefix="circuit-sweep-") as folder:
        tokens = prepare_tokens(config, Path(folder))
        training = GroupTraining.begin(config, load_language_model(config), tokens, unit.layers)
        started = time.perf_counter()
        training.step()  # computes the first buffer, which serves more steps than are taken here
        first = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(steps):
            training.step()
        each = (time.perf_counter() - started) / steps
    shared = max(0.0, first - each) / max(1, max(config.buffer, 2 * config.batch_size) // config.batch_size)
    return MeasuredSpeed(unit.name, steps, config.batch_size / (each + shared))
