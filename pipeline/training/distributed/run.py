"""Train a dictionary to its end, over whatever machines there are; started again, it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.builtin import resolve
from pipeline.errors import CircuitSweepError
from pipeline.hub import Kind, pin
from pipeline.runtime import GangProgress, Unit, run_gangs
from pipeline.store import DataFolder, open_folder
from pipeline.store.commits import Lease, hold, write_report
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.assembly import read_finished
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.claim import TrainingClaim, check_claim, claim
from pipeline.training.distributed.layout import START, TOKENS, state_url
from pipeline.training.distributed.sizing import PROCESS_BYTES, TrainingSizes, machine_here, sizes_of
from pipeline.training.distributed.text import prepare_shared_tokens
from pipeline.training.distributed.work import BEFORE, DICTIONARY, TrainingWork
from pipeline.training.recipe import Schedule
from pipeline.training.report import load_against

DONE, SOME_FAILED = 0, 1
"""Exit codes of a training that came to its end."""


@dataclass
class TrainingReport:
    """One start, as it is stored in `_runs/`."""

    state: str
    """`finished`, or the class of the error that ended it early."""

    started: datetime
    finished: datetime
    configuration: Mapping[str, Any]
    done: list[str] = field(default_factory=list)
    """Units that this start finished."""

    failed: dict[str, str] = field(default_factory=dict)
    """Units that were given up, with the reason; their checkpoints are kept."""

    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if the dictionary is done, 1 if layers were given up."""
        return SOME_FAILED if self.failed else DONE


def train(config: DictionaryConfig, progress: GangProgress, address: str | None = None) -> TrainingReport:
    """Train a dictionary, from nothing or from where an earlier start has come to.

    Args:
        config: the dictionary.
        progress: is told what happens.
        address: Ray cluster to join (default: `RAY_ADDRESS`, else a Ray of its own on this machine).

    Raises:
        CircuitSweepError: it cannot start, or go on; what was kept stays.
        KeyboardInterrupt: a signal asked for the end; what was at work is kept.

    """
    config = located(config)
    sizes = sizes_of(config)
    state = open_folder(state_url(config.output))
    started = datetime.now(UTC)
    report = TrainingReport(
        "finished", started, started, config.model_dump(mode="json"), notes=progress.notes
    )
    with hold(state) as lease:
        kept = _prepare(state, sizes, progress)
        try:
            schedule = _run(state, sizes, kept, progress, lease, address)
            lease.confirm()
        except BaseException as error:
            with suppress(CircuitSweepError):
                ended = replace(
                    report, state=type(error).__name__, finished=datetime.now(UTC), error=str(error)
                )
                write_report(state, ended)
            raise
        report = replace(report, finished=datetime.now(UTC), done=schedule.done, failed=schedule.failed)
        write_report(state, report)
    return report


def located(config: DictionaryConfig) -> DictionaryConfig:
    """Return a configuration whose names mean the same in every process: pinned, with absolute paths."""
    changes: dict[str, Any] = {"model": _located(config.model, "model")}
    if config.start is not None:
        changes["start"] = _located(config.start, "transcoders")
    if config.against is not None and (folder := Path(config.against).expanduser()).is_dir():
        changes["against"] = str(folder.absolute())
    if "://" not in config.output:
        changes["output"] = str(Path(config.output).expanduser().absolute())
    return config.model_copy(update=changes)


def _located(name: str, kind: Kind) -> str:
    pinned = pin(resolve(name, kind), kind)
    is_here = pinned.folder is not None and "://" not in pinned.name
    return str(pinned.folder.absolute()) if is_here else pinned.name


def _prepare(state: DataFolder, sizes: TrainingSizes, progress: GangProgress) -> TrainingClaim:
    """Refuse another training's folder, tokenize the text, and make the folder this training's."""
    config = sizes.config
    if config.against is not None:
        load_against(config)  # refused before hours are spent
    if not check_claim(state, config):  # tokens that one left which never began may be of another text
        state.delete([entry.name for entry in state.list(TOKENS)])
    tokens = prepare_shared_tokens(state, config, lambda documents: None)
    train, held_out = tokens.description.train, tokens.description.held_out
    progress.line(
        f"text: {train.documents:,} documents with {train.rows:,} tokens to train on, "
        f"{held_out.rows:,} held out"
    )
    for reason, count in tokens.description.left_out.items():
        progress.note(f"{count:,} documents {reason}, and are left out")
    return claim(state, config, sizes.units(sizes.cost(machine_here())))


def _run(
    state: DataFolder,
    sizes: TrainingSizes,
    kept: TrainingClaim,
    progress: GangProgress,
    lease: Lease,
    address: str | None,
) -> Any:
    config, steps = sizes.config, Schedule.of(sizes.config).steps
    units = {one.name: Checkpoints(state, one.name) for one in kept.units}
    for checkpoints in units.values():
        state.delete(checkpoints.orphans())  # of processes that died: nobody writes yet
    left = [one for one in kept.units if units[one.name].exported(steps) is None]
    for one in left:
        if states := units[one.name].to_go_on_from(Schedule.of(config)):
            progress.line(f"{one.name} goes on from step {states[0].step:,} of {steps:,}")
    before = config.start is not None and not state.exists(START)
    waiting = [Unit(BEFORE)] if before else []
    waiting += [Unit(one.name, one.members, after=(BEFORE,) if before else ()) for one in left]
    finished = read_finished(state)
    asked = (steps, config.against, config.finish)
    if left or finished is None or (finished.steps, finished.against, finished.finish) != asked:
        waiting.append(Unit(DICTIONARY, after=tuple(one.name for one in left)))

    def saved_step(unit: str) -> int:
        return units[unit].saved() if unit in units else 0

    work = TrainingWork(config, kept.units, _memory(sizes, kept))
    return run_gangs(
        work, waiting, config.output, config.workers, progress, lease, saved_step, address=address
    )


def _memory(sizes: TrainingSizes, kept: TrainingClaim) -> int:
    """Bytes of the largest process, on a machine without GPUs."""
    of_units = (sizes.shape.part(len(one.layers)).state_bytes / one.members for one in kept.units)
    buffer = 2 * 4 * sizes.config.buffer * sizes.shape.d_model * max(len(one.layers) for one in kept.units)
    return int(PROCESS_BYTES + sizes.model.bytes + max(of_units) + buffer)
