"""The state of a training, told by its output alone, so it works wherever that can be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.runtime import GangRunState, UnitState
from pipeline.runtime.telemetry import read_said
from pipeline.store import open_folder
from pipeline.store.commits import StoredReport, read_holder, read_reports
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.assembly import read_finished
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.claim import read_claim
from pipeline.training.distributed.layout import CLAIM, state_url
from pipeline.training.recipe import Schedule

State = Literal["running", "finished", "interrupted", "stopped", "died"]
"""`interrupted` is ended by Ctrl-C or SIGTERM, `stopped` by an error, `died` gone without a word."""


@dataclass(frozen=True)
class UnitStatus:
    """One unit: layers that are trained together."""

    unit: str
    saved: int
    """Step of its last complete checkpoint."""

    steps: int
    is_exported: bool
    now: UnitState | None
    """How far it is by its driver, some seconds ago; None where no driver is alive."""


@dataclass(frozen=True)
class TrainingStatus:
    """The state of a training."""

    output: str
    state: State
    driver: str | None
    """Machine and process id of who drives it; None if nobody does."""

    config: dict[str, Any]
    units: list[UnitStatus]
    error: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    """Units that the last start gave up, with the reason."""

    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """True if nobody has to do anything."""
        return self.state in ("running", "finished")


def is_training(output: str) -> bool:
    """Tell if an output is one of `circuit-sweep train`."""
    return open_folder(state_url(output)).exists(CLAIM)


def read_training_status(output: str) -> TrainingStatus:
    """Look at the output of a training.

    Raises:
        StoreError: it cannot be read.

    """
    state = open_folder(state_url(output))
    claim = read_claim(state)
    # In this order, so that a start that ends meanwhile still counts as running.
    holder = read_holder(state)
    said = read_said(GangRunState, holder)
    last = next(read_reports(state), StoredReport())
    steps = Schedule.of(DictionaryConfig.model_validate(claim.config)).steps
    alive = holder is not None and not holder.is_dead
    now = {one.unit: one for one in said.units} if said is not None and alive else {}
    finished = read_finished(state)
    return TrainingStatus(
        output=output,
        state=_state(alive, holder is not None, finished is not None and finished.steps == steps, last),
        driver=None if holder is None else f"{holder.host}:{holder.pid}",
        config=claim.config,
        units=[
            UnitStatus(
                unit=unit.name,
                saved=Checkpoints(state, unit.name).saved(),
                steps=steps,
                is_exported=Checkpoints(state, unit.name).exported(steps) is not None,
                now=now.get(unit.name),
            )
            for unit in claim.units
        ],
        error=None if alive else last.error,
        failed={} if alive else last.failed,
        notes=list(said.notes) if said is not None else last.notes,
    )


def _state(alive: bool, is_held: bool, is_finished: bool, last: StoredReport) -> State:
    if is_held:
        return "running" if alive else "died"
    if is_finished:
        return "finished"
    return "stopped" if last.state not in (None, "KeyboardInterrupt") else "interrupted"
