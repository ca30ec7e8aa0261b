"""One folder, one training: `training.json` says whose it is, and how its layers are cut into units.

A second training is refused with the difference, unless it is the first one going on: with what changes no
weight, or with more tokens. Model and start are told by their content, wherever they lie: a job on a cluster
finds them in another folder each time. The cut is made once and kept, since a unit's checkpoints are of its
layers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.builtin import resolve
from pipeline.errors import DamageError, StoreError
from pipeline.hub import Kind, pin
from pipeline.store import DataFolder
from pipeline.training.config import NOT_TRAINING, DictionaryConfig
from pipeline.training.distributed.layout import CLAIM

FORMAT = 2
"""Version of a training's files. Since 2 model and start are told by their content."""

FREE = (NOT_TRAINING - {"layers"}) | {"groups"}
"""Keys that may change from one start to the next. Where to cut was decided by the first."""

BY_CONTENT: dict[str, Kind] = {"model": "model", "start": "transcoders"}
"""Keys that name what is compared by its content, and what that is."""


class TrainingUnit(BaseModel):
    """Layers that one gang trains."""

    model_config = ConfigDict(frozen=True)

    first: int
    end: int
    """The layer after the last."""

    members: int = 1

    @property
    def name(self) -> str:
        """Name in checkpoints and reports."""
        return f"layers-{self.first:03}-{self.end - 1:03}"

    @property
    def layers(self) -> range:
        """The layers."""
        return range(self.first, self.end)


class TrainingClaim(BaseModel):
    """The training that a folder belongs to."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    config: dict[str, Any]
    contents: dict[str, dict[str, str]]
    """Of model and start: a hash of the files, or a repository's commit."""

    units: tuple[TrainingUnit, ...]

    @classmethod
    def of(cls, config: DictionaryConfig, units: Sequence[TrainingUnit] = ()) -> TrainingClaim:
        """Return the claim of a configuration.

        Raises:
            ModelError, TranscoderError: what it names cannot be found.

        """
        named = {key: getattr(config, key) for key in BY_CONTENT}
        contents = {
            key: pin(resolve(name, BY_CONTENT[key]), BY_CONTENT[key]).fingerprint
            for key, name in named.items()
            if name is not None
        }
        return cls(config=config.model_dump(mode="json"), contents=contents, units=tuple(units))

    @property
    def compared(self) -> dict[str, Any]:
        """What may not differ from one start to the next, by dotted key."""
        values = {key: value for key, value in self.config.items() if key not in FREE}
        return flattened(values | self.contents)


def claim(folder: DataFolder, config: DictionaryConfig, units: Sequence[TrainingUnit]) -> TrainingClaim:
    """Make the folder this training's, or find that it is.

    Returns: the claim that holds, with the cut into units that the first start made.

    Raises:
        StoreError: it is another's, with the difference.

    """
    ours = TrainingClaim.of(config, units)
    if folder.create(CLAIM, ours.model_dump_json(indent=1).encode()):
        return ours
    check_claim(folder, config)
    kept = read_claim(folder).model_copy(update={"config": ours.config})
    folder.replace(CLAIM, kept.model_dump_json(indent=1).encode())
    return kept


def check_claim(folder: DataFolder, config: DictionaryConfig) -> bool:
    """Tell if the folder is this training's already; False if it is nobody's.

    Raises:
        StoreError: it is another's, with the difference.

    """
    if not folder.exists(CLAIM):
        return False
    then, now = read_claim(folder).compared, TrainingClaim.of(config).compared
    changed = [key for key in sorted(then | now) if then.get(key) != now.get(key)]
    if changed:
        lines = [f"  {key}: {_show(then.get(key))} -> {_show(now.get(key))}" for key in changed]
        raise StoreError(
            "\n".join(
                [
                    f"{folder.url} holds a training of another configuration (there -> here):",
                    *lines,
                    "Put these back to go on with it, or choose another output. Only `tokens` may grow.",
                ]
            )
        )
    return True


def read_claim(folder: DataFolder) -> TrainingClaim:
    """Read which training a folder belongs to.

    Raises:
        StoreError: none was ever started there, or by an older version.
        DamageError: the file cannot be read.

    """
    data = folder.read_if_there(CLAIM)
    if data is None:
        raise StoreError(f"{folder.url} holds no training: give the output of `circuit-sweep train`.")
    try:
        written = json.loads(data)["format"]
        found = TrainingClaim.model_validate_json(data) if written == FORMAT else None
    except (ValueError, KeyError, TypeError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DamageError(
            f"{folder.url}/{CLAIM} is damaged: {told}. Restore it, or choose another output."
        ) from error
    if found is None:
        raise StoreError(
            f"{folder.url} holds a training of format {written}, and this version goes on with {FORMAT}: "
            "finish it with the version that began it, or choose another output."
        )
    return found


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
