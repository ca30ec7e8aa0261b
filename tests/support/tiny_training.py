"""Trainings of a second or two: a tiny model, a text, and processes that train it and die on demand."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.runtime.gangs.member import HERE
from pipeline.runtime.gangs.work import Member
from pipeline.runtime.work import WorkerResources
from pipeline.store import open_folder
from pipeline.training.config import DICTIONARY_FILE, DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.claim import TrainingUnit, claim
from pipeline.training.distributed.layout import state_url
from pipeline.training.distributed.process_group import process_group
from pipeline.training.distributed.text import prepare_shared_tokens
from pipeline.training.distributed.unit_training import UnitTraining
from pipeline.training.layer_group import LayerGroup
from tests.support.tiny_model import make_model

LAYERS = 4
STEPS = 40
BATCH = 64
EVERY = 7
"""Steps from one checkpoint to the next, in trainings that save often."""

RESOURCES = WorkerResources(1, ("cpu",), 1.0)


def make_files(folder: Path) -> None:
    """Save a model of four layers, and a text."""
    make_model(folder / "model", layers=LAYERS)
    words = random.Random(0)
    lines = (" ".join(f"w{words.randrange(28)}" for _ in range(11)) for _ in range(400))
    (folder / "text.txt").write_text("\n".join(lines))


def tiny_dictionary(files: Path, output: Path | str, **changes: Any) -> DictionaryConfig:
    """Return a training of forty steps with the files that `make_files` made."""
    values = {
        "model": str(files / "model"),
        "features": 32,
        "k": 4,
        "text": {"source": str(files / "text.txt"), "held_out": 0.1, "context": 12},
        "tokens": STEPS * BATCH,
        "batch": BATCH,
        "buffer": 512,
        "evaluation": 1000,
        "dtype": "float32",
        "output": str(output),
        "workers": {"cores_per_replica": 1, "replicas": 2},
    }
    return DICTIONARY_FILE.check(values | changes, "tiny.yaml")


def units(config: DictionaryConfig, groups: int = 1) -> list[TrainingUnit]:
    """Cut the four layers."""
    if config.kind == "clt":
        return [TrainingUnit(first=0, end=LAYERS, members=config.shards)]
    each = LAYERS // groups
    return [TrainingUnit(first=first, end=first + each) for first in range(0, LAYERS, each)]


def prepare(config: DictionaryConfig, groups: int = 1) -> list[TrainingUnit]:
    """Do what the driver does before processes train."""
    state = open_folder(state_url(config.output))
    prepare_shared_tokens(state, config, lambda documents: None)
    return list(claim(state, config, units(config, groups)).units)


def go_on(config: DictionaryConfig, unit: TrainingUnit, member: Member | None = None) -> UnitTraining:
    """Go on with a unit in this process, and return what knows how far it is."""
    torch.set_num_threads(1)
    member = member or Member(RESOURCES, 0, 1, 0)
    state = open_folder(state_url(config.output))
    with process_group(member) as group:
        training = UnitTraining(state, config, unit, member, group)
        training.go_on()
    return training


def acted_at(action: Callable[[int], None]) -> None:
    """Let something happen before every step that this process takes."""
    step = LayerGroup.step
    LayerGroup.step = lambda group, rows: (action(group.step_number), step(group, rows))[1]


def save_often() -> None:
    """Let this process save every few steps."""
    UnitTraining.is_due = lambda self, step: step % EVERY == 0 and step > 0


def exported(config: DictionaryConfig, unit: TrainingUnit) -> list[dict[str, Tensor]]:
    """Return the tensors of a unit's export, by rank."""
    checkpoints = Checkpoints(open_folder(state_url(config.output)), unit.name)
    marker = checkpoints.exported(config.n_steps)
    assert marker is not None
    return [checkpoints.read(marker, rank)[0] for rank in range(unit.members)]


def same_bits(some: Sequence[Mapping[str, Tensor]], others: Sequence[Mapping[str, Tensor]]) -> bool:
    """Tell if tensors are equal, each with the one of its name."""
    return all(
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        for one, other in zip(some, others, strict=True)
    )


def saved(config: DictionaryConfig, unit: TrainingUnit) -> int:
    """Return the step of a unit's last checkpoint."""
    return Checkpoints(open_folder(state_url(config.output)), unit.name).saved()


def start_member(
    config: DictionaryConfig, unit: TrainingUnit, rank: int, ports: Connection, die_at: int | None
) -> SpawnProcess:
    """Start a process that goes on with a unit and kills itself at a step."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_member, args=(config, unit, rank, ports, die_at))
    process.start()
    return process


def run_gang(config: DictionaryConfig, unit: TrainingUnit, die_at: int | None = None) -> list[int | None]:
    """Go on with a unit in new processes, the last of which dies at a step; return their exit codes."""
    pipes = [multiprocessing.Pipe() for _ in range(unit.members)]
    last = unit.members - 1
    processes = [
        start_member(config, unit, rank, pipes[rank][1], die_at if rank == last else None)
        for rank in range(unit.members)
    ]
    if unit.members > 1:
        port = pipes[0][0].recv()
        for parent, _ in pipes[1:]:
            parent.send(port)
    for process in processes:
        process.join(240)
    return [process.exitcode for process in processes]


def _member(
    config: DictionaryConfig, unit: TrainingUnit, rank: int, ports: Connection, die_at: int | None
) -> None:
    save_often()
    if die_at is not None:
        acted_at(lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == die_at else None)
    listener, port = None, 0
    if unit.members > 1 and rank == 0:
        listener = socket.create_server((HERE, 0))
        port = listener.getsockname()[1]
        ports.send(port)
    elif unit.members > 1:
        port = ports.recv()
    go_on(config, unit, Member(RESOURCES, rank, unit.members, port, listener))
