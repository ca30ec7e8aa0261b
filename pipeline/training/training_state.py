"""All that a training needs to go on, in one file, and who may go on with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.training.config import NOT_TRAINING, DictionaryConfig
from pipeline.training.feature_shard import FeatureShard
from pipeline.training.recipe import Schedule


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on: no rows, no random numbers."""

    tensors: dict[str, Tensor]
    """By layer and name, such as `3.weights.encoder`."""

    info: dict[str, Any]
    """Configuration, schedule, step, a few numbers a layer, shard; JSON."""

    def save(self, path: Path) -> None:
        """Write one file; equal states give equal bytes."""
        text = json.dumps(self.info, sort_keys=True)
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, path, {"info": text})

    @classmethod
    def load(cls, path: Path) -> TrainingState:
        """Read a file that `save` wrote.

        Raises:
            TrainingError: it is missing or damaged.

        """
        try:
            with safe_open(path, framework="pt") as opened:
                info = json.loads((opened.metadata() or {})["info"])
                return cls({name: opened.get_tensor(name) for name in opened.keys()}, info)  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(
                f"training state {path} cannot be read ({error}): go on from an earlier one."
            ) from error


TOLD_BY_CONTENT = {"model", "start"}
"""Keys that name files, which may lie elsewhere on each machine. The model's content is compared where the
text's is (`GroupTraining.resume`); what a training started from is in its weights."""


def check_continues(config: DictionaryConfig, state: TrainingState, shard: FeatureShard) -> Schedule:
    """Return the schedule with which a training goes on from a state.

    Raises:
        TrainingError: it is a state of another training, with the difference.

    """
    now, then = config.model_dump(mode="json"), state.info["config"]
    compared = [key for key in now if key not in NOT_TRAINING | TOLD_BY_CONTENT]
    changed = [key for key in compared if now[key] != then.get(key)]
    if changed:
        told = "; ".join(f"{key} was {then.get(key)!r} and is {now[key]!r}" for key in changed)
        raise TrainingError(
            f"the training in progress has another configuration: {told}. Put it back, or name another "
            "output."
        )
    if state.info["shard"] != [shard.rank, shard.size]:
        raise TrainingError(
            f"the state is of shard {state.info['shard']}, and this is {[shard.rank, shard.size]}: go on "
            "with as many processes as before."
        )
    schedule = Schedule(**state.info["schedule"])
    longer = schedule.longer(config)
    if longer.steps != schedule.steps and state.info["step"] > min(schedule.decay_from, longer.decay_from):
        raise TrainingError(
            f"tokens was {then['tokens']:,} and is {now['tokens']:,}, but this state is of step "
            f"{state.info['step']:,}, where the learning rate falls already: go on from one of step "
            f"{min(schedule.decay_from, longer.decay_from):,} or before."
        )
    return longer
