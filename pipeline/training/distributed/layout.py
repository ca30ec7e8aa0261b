"""Every name in the state of a training, which lies beside the dictionary that it makes.

OUTPUT/config.yaml, layer_0.safetensors, ...   the dictionary, once it is done
OUTPUT/.training/training.json                 whose folder this is, and how its layers are cut into units
OUTPUT/.training/dictionary.json               the files of a dictionary that is done
OUTPUT/.training/start.json                    figures of the dictionary that it started from
OUTPUT/.training/_driver.json, _runs/          as of a sweep
OUTPUT/.training/tokens/                       the text, as tokens
OUTPUT/.training/checkpoints/<unit>/<steps>-<step>.json                  what makes a checkpoint count
OUTPUT/.training/checkpoints/<unit>/<steps>-<step>-<attempt>-<rank>.safetensors

The folder's name begins with a dot, so that no reader of dictionaries takes what lies in it for one. A
checkpoint is named by the steps of the whole training too: with more tokens, the same step may be another
state.
"""

from __future__ import annotations

import re

STATE = ".training"
CLAIM = "training.json"
DONE = "dictionary.json"
START = "start.json"
TOKENS = "tokens"
CHECKPOINTS = "checkpoints"

EXPORT = "export"
"""In the place of a step: a unit's layers as the dictionary's files will hold them."""

MARKER = re.compile(rf"{CHECKPOINTS}/[\w-]+/(?P<steps>\d{{9}})-(?P<step>\d{{9}}|{EXPORT})\.json")


def state_url(output: str) -> str:
    """Return the folder of a training's state."""
    return f"{output.rstrip('/')}/{STATE}"


def unit_folder(unit: str) -> str:
    """Return the folder of a unit's checkpoints."""
    return f"{CHECKPOINTS}/{unit}"


def marker_of(unit: str, steps: int, step: int | None) -> str:
    """Return the file that makes a checkpoint count; no step is the export."""
    return f"{unit_folder(unit)}/{steps:09}-{_place(step)}.json"


def shard_of(unit: str, steps: int, step: int | None, attempt: str, rank: int) -> str:
    """Return a process's file of a checkpoint."""
    return f"{unit_folder(unit)}/{steps:09}-{_place(step)}-{attempt}-{rank:03}.safetensors"


def parse_marker(name: str) -> tuple[int, int | None] | None:
    """Return the steps and the step of a marker; None if the file is none."""
    found = MARKER.fullmatch(name)
    if found is None:
        return None
    return int(found["steps"]), None if found["step"] == EXPORT else int(found["step"])


def _place(step: int | None) -> str:
    return EXPORT if step is None else f"{step:09}"
