"""The dictionary from what all units exported: joined, written, read back as `run` reads it, measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError
from xxhash import xxh3_128_hexdigest

from pipeline.errors import StoreError
from pipeline.runtime import Member, News
from pipeline.store import DataFolder, open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints, ShardFile
from pipeline.training.distributed.claim import TrainingUnit
from pipeline.training.distributed.export_files import from_tensors, training_state
from pipeline.training.distributed.layout import DONE, START
from pipeline.training.distributed.text import open_shared_tokens
from pipeline.training.export import join_shards
from pipeline.training.group_training import load_language_model
from pipeline.training.recipe import Schedule
from pipeline.training.report import (
    LayerMetrics,
    TrainingFacts,
    measure_start,
)
from pipeline.training.train import write_measured
from pipeline.training.training_state import TrainingState
from pipeline.training.warm_start import load_start
from pipeline.transcoders import TranscoderLayer


class Finished(BaseModel):
    """A dictionary that is done: its files, as they were written."""

    model_config = ConfigDict(frozen=True)

    format: int = 1
    steps: int

    against: str | None = None
    """Dictionary that it was compared with."""

    finish: int | None = None
    """Tokens of its finish."""

    files: tuple[ShardFile, ...]
    created: datetime


def measure_start_once(state: DataFolder, config: DictionaryConfig, member: Member) -> None:
    """Measure the dictionary that a training starts from, on its model and text, before any step.

    Raises:
        CircuitSweepError: it cannot be read, or is for another model.

    """
    model = load_language_model(config)
    found = measure_start(config, model, open_shared_tokens(state), load_start(config, model))
    member.news = News(1, 1, figures=_figures(found))
    state.replace(START, json.dumps([asdict(layer) for layer in found]).encode())


def assemble(
    state: DataFolder, config: DictionaryConfig, units: Sequence[TrainingUnit], member: Member
) -> None:
    """Write the dictionary with its report beside its state, and last what says that it is done.

    Raises:
        StoreError: an export is missing or damaged, or the output cannot be written.
        TranscoderError: the files cannot be read again.

    """
    steps = Schedule.of(config).steps
    layers, facts = _exported(state, units, steps)
    output = open_folder(config.output)
    with TemporaryDirectory(prefix="circuit-sweep-") as temporary:
        folder = Path(temporary, Path(config.output).name or "dictionary")
        metrics = write_measured(
            config,
            load_language_model(config),
            open_shared_tokens(state),
            layers,
            folder,
            facts=facts,
            start=_start(state),
        )
        member.news = News(1, 1, figures=_figures(metrics.layers))
        written = [_copy(path, folder, output) for path in _in_order(folder)]
    finished = Finished(
        steps=steps,
        against=config.against,
        finish=config.finish,
        files=tuple(written),
        created=datetime.now(UTC),
    )
    state.replace(DONE, finished.model_dump_json(indent=1).encode())


def _start(state: DataFolder) -> list[LayerMetrics] | None:
    """Return the figures of the dictionary that training started from; None if it started from nothing."""
    before = state.read_if_there(START)
    return None if before is None else [LayerMetrics(**layer) for layer in json.loads(before)]


def _exported(
    state: DataFolder, units: Sequence[TrainingUnit], steps: int
) -> tuple[dict[int, TranscoderLayer], TrainingFacts]:
    """Return the layers that all units exported, by number, and the facts of their training."""
    layers: dict[int, TranscoderLayer] = {}
    states: list[TrainingState] = []
    seconds = 0.0
    for unit in units:
        checkpoints = Checkpoints(state, unit.name)
        marker = checkpoints.exported(steps)
        if marker is None:
            raise StoreError(f"{state.url} has no export of {unit.name}: start the training again.")
        shards = [checkpoints.read(marker, rank) for rank in range(len(marker.shards))]
        layers |= join_shards([from_tensors(*shard) for shard in shards])
        states += [training_state(*shard) for shard in shards]
        seconds += marker.seconds
    return layers, TrainingFacts.of(states, seconds)


def _figures(layers: Sequence[LayerMetrics]) -> dict[str, float]:
    return {
        "FVU": sum(layer.fvu for layer in layers) / len(layers),
        "L0": sum(layer.l0 for layer in layers) / len(layers),
    }


def read_finished(state: DataFolder) -> Finished | None:
    """Return what is said of the dictionary that is done; None if none is."""
    data = state.read_if_there(DONE)
    try:
        return Finished.model_validate_json(data) if data else None
    except ValidationError:
        return None


def _in_order(folder: Path) -> list[Path]:
    """The files, with what makes the folder a dictionary last."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (path.name == "config.yaml", path.as_posix()))


def _copy(path: Path, folder: Path, output: DataFolder) -> ShardFile:
    name, data = path.relative_to(folder).as_posix(), path.read_bytes()
    output.replace(name, data)
    return ShardFile(name=name, bytes=len(data), checksum=f"xxh3-128:{xxh3_128_hexdigest(data)}")
