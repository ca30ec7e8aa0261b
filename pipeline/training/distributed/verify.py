"""A training's files against what its markers say of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from xxhash import xxh3_128_hexdigest

from pipeline.errors import DamageError, StoreError
from pipeline.store import DataFolder, open_folder
from pipeline.training.distributed.assembly import read_finished
from pipeline.training.distributed.checkpoints import Checkpoints, ShardFile
from pipeline.training.distributed.claim import read_claim
from pipeline.training.distributed.layout import TOKENS, state_url
from pipeline.training.distributed.text import open_shared_tokens


@dataclass
class TrainingCheck:
    """What was found."""

    output: str
    files: int = 0
    """Files that were looked at."""

    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """Files that no marker names, which nobody reads."""


def verify_training(output: str, quick: bool = False) -> TrainingCheck:
    """Check checkpoints, tokens and the dictionary.

    Args:
        output: of `circuit-sweep train`.
        quick: compare sizes alone.

    Raises:
        StoreError: it is no training's output, or cannot be read.

    """
    state = open_folder(state_url(output))
    found = TrainingCheck(output)
    for unit in read_claim(state).units:
        checkpoints = Checkpoints(state, unit.name)
        for marker in checkpoints.markers():
            for shard in marker.shards:
                _check(state, shard, quick, found)
        found.orphans += checkpoints.orphans()
    finished = read_finished(state)
    for file in finished.files if finished is not None else ():
        _check(open_folder(output), file, quick, found)
    if not quick:
        try:
            open_shared_tokens(state).verify()
        except StoreError as error:
            found.problems.append(f"{TOKENS}: {error}")
    return found


def _check(folder: DataFolder, file: ShardFile, quick: bool, found: TrainingCheck) -> None:
    found.files += 1
    found.bytes += file.bytes
    size = folder.size(file.name)
    place = f"{folder.url}/{file.name}"
    if size is None:
        found.problems.append(f"{place} is gone")
    elif size != file.bytes:
        found.problems.append(f"{place} has {size:,} bytes, and {file.bytes:,} were written")
    elif not quick:
        try:
            checksum = f"xxh3-128:{xxh3_128_hexdigest(folder.read(file.name, file.bytes))}"
        except DamageError as error:
            found.problems.append(str(error))
        else:
            if checksum != file.checksum:
                found.problems.append(f"{place} is not what was written: its checksum differs")
