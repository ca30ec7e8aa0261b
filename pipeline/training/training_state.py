"""All that a training needs to go on, in one file, and who may go on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
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

    def decays(self) -> dict[int, int]:
        """Return the first step at which each layer's learning rate falls, as far as it was known."""
        config = DictionaryConfig.model_validate(self.info["config"])
        measured = {int(name): numbers["held_out"] for name, numbers in self.info["layers"].items()}
        return decays(config, Schedule(**self.info["schedule"]), measured)

    def steps_of(self, layer: int) -> int:
        """Return the steps that a layer was trained for: it may have ended before the others."""
        end = Schedule(**self.info["schedule"]).end_of(self.decays()[layer])
        return min(self.info["step"], end)

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


def decays(
    config: DictionaryConfig, schedule: Schedule, held_out: Mapping[int, Sequence[tuple[int, float]]]
) -> dict[int, int]:
    """Return the first step at which each layer's learning rate falls.

    Args:
        config: of the dictionary.
        schedule: of its training.
        held_out: for each layer, steps before which its FVU was measured, and that.

    """
    if not config.stop_at_plateau:
        return dict.fromkeys(held_out, schedule.decay_from)
    if config.kind == "clt":  # whose layers need each other
        measured = zip(*held_out.values(), strict=True)
        mean = [(of_all[0][0], fmean(fvu for _, fvu in of_all)) for of_all in measured]
        return dict.fromkeys(held_out, schedule.decay_of(mean))
    return {layer: schedule.decay_of(measured) for layer, measured in held_out.items()}


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
    ends = [key for key in ("tokens", "stop_at_plateau") if now[key] != then.get(key)]
    last = min(*state.decays().values(), longer.decay_from)
    if ends and state.info["step"] > last:
        told = "; ".join(f"{key} was {then.get(key)!r} and is {now[key]!r}" for key in ends)
        raise TrainingError(
            f"{told}, but this state is of step {state.info['step']:,}, where the learning rate falls "
            f"already: go on from one of step {last:,} or before."
        )
    return longer
