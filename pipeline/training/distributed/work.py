"""Training as long work of the runtime: how a process goes on with a unit, or ends with the dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.runtime import Member
from pipeline.store import open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.assembly import assemble, measure_start_once
from pipeline.training.distributed.claim import TrainingUnit
from pipeline.training.distributed.layout import state_url
from pipeline.training.distributed.process_group import process_group
from pipeline.training.distributed.unit_training import UnitTraining

DICTIONARY = "dictionary"
"""The unit that joins all others' layers, and measures them."""

BEFORE = "start"
"""The unit that measures the dictionary that a training starts from, before all others."""


@dataclass
class TrainingWork:
    """See `pipeline.runtime.GangWork`."""

    config: DictionaryConfig
    units: tuple[TrainingUnit, ...]
    memory_bytes: int | None

    def go_on(self, unit: str, member: Member) -> bool:
        """Go on with a unit from its last complete checkpoint."""
        torch.set_num_threads(member.resources.threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        config = self.config.model_copy(update={"device": member.resources.devices[0]})
        state = open_folder(state_url(config.output))
        if unit == DICTIONARY:
            assemble(state, config, self.units, member)
            return True
        if unit == BEFORE:
            measure_start_once(state, config, member)
            return True
        (own,) = (one for one in self.units if one.name == unit)
        with process_group(member) as group:
            return UnitTraining(state, config, own, member, group).go_on()
