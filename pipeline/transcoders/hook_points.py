"""The points of a model at which transcoders read and write, in the names of their configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.errors import TranscoderError
from pipeline.untrusted import cut

HookPoint = Literal["hook_resid_mid", "mlp.hook_in", "ln2.hook_normalized", "mlp.hook_out", "hook_mlp_out"]


def hook_point(value: Any, path: Path, key: str) -> HookPoint:
    """Return a hook point that a configuration names, checked.

    Raises:
        TranscoderError: it names another one.

    """
    if value not in get_args(HookPoint):
        raise TranscoderError(
            f"{path}: {key} is {cut(value)}; known hook points are {', '.join(get_args(HookPoint))}."
        )
    return value
