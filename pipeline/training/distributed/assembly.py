"""The dictionary from what all units exported: joined, written, and read back as `run` will read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError
from xxhash import xxh3_128_hexdigest

from pipeline.errors import StoreError
from pipeline.store import DataFolder, open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints, ShardFile
from pipeline.training.distributed.claim import TrainingUnit
from pipeline.training.distributed.export_files import from_tensors
from pipeline.training.distributed.layout import DONE
from pipeline.training.export import join_shards
from pipeline.training.recipe import Schedule
from pipeline.training.write import write_dictionary
from pipeline.transcoders import TranscoderLayer, load_transcoders


class Finished(BaseModel):
    """A dictionary that is done: its files, as they were written."""

    model_config = ConfigDict(frozen=True)

    format: int = 1
    steps: int
    files: tuple[ShardFile, ...]
    created: datetime


def assemble(state: DataFolder, config: DictionaryConfig, units: Sequence[TrainingUnit]) -> None:
    """Write the dictionary beside its state, and last what says that it is done.

    Raises:
        StoreError: an export is missing or damaged, or the output cannot be written.
        TranscoderError: the files cannot be read again.

    """
    steps = Schedule.of(config).steps
    layers = exported_layers(state, units, steps)
    output = open_folder(config.output)
    with TemporaryDirectory(prefix="circuit-sweep-") as temporary:
        folder = Path(temporary, Path(config.output).name or "dictionary")
        write_dictionary(config, layers, folder)
        if config.kind != "sae":  # a reader that refuses it now is better than one that refuses it in a sweep
            load_transcoders(str(folder))
        written = [_copy(path, folder, output) for path in _in_order(folder)]
    finished = Finished(steps=steps, files=tuple(written), created=datetime.now(UTC))
    state.replace(DONE, finished.model_dump_json(indent=1).encode())


def exported_layers(
    state: DataFolder, units: Sequence[TrainingUnit], steps: int
) -> dict[int, TranscoderLayer]:
    """Return the layers that all units exported, by number.

    Raises:
        StoreError: an export is missing, or its files are not what was written.

    """
    layers: dict[int, TranscoderLayer] = {}
    for unit in units:
        checkpoints = Checkpoints(state, unit.name)
        marker = checkpoints.exported(steps)
        if marker is None:
            raise StoreError(f"{state.url} has no export of {unit.name}: start the training again.")
        parts = [from_tensors(*checkpoints.read(marker, rank)) for rank in range(len(marker.shards))]
        layers |= join_shards(parts)
    return layers


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
    return sorted(files, key=lambda path: (path.suffix != ".safetensors", path.as_posix()))


def _copy(path: Path, folder: Path, output: DataFolder) -> ShardFile:
    name, data = path.relative_to(folder).as_posix(), path.read_bytes()
    output.replace(name, data)
    return ShardFile(name=name, bytes=len(data), checksum=f"xxh3-128:{xxh3_128_hexdigest(data)}")
