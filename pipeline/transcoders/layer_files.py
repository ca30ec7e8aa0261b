"""Find one file a layer in a folder whose names say the layer.

`layer_3/width_16k/params.npz`, `params_layer_3.safetensors`, `layers.3.mlp/sae.safetensors` and
`blocks.3.hook_mlp_out/sae_weights.safetensors` are all layer 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import TranscoderError

_LAYER = re.compile(r"(?:^|[._/\-])(?:layers?|blocks?|h)[._/\-]?(\d+)(?=[._/\-]|$)")


def layer_of(path: str) -> int | None:
    """Return the layer that a path or a hook's name says, or None."""
    found = _LAYER.search(path)
    return int(found[1]) if found else None


def layer_files(
    folder: Path, patterns: tuple[str, ...], layer: Callable[[Path], int | None] | None = None
) -> list[Path]:
    """Return one file a layer, from the first.

    Args:
        folder: where to look, with all folders inside.
        patterns: the files' names, with wildcards.
        layer: tells a file's layer, where its path does not.

    Raises:
        TranscoderError: a layer is missing, a layer has two files, or a file's layer is not known.

    """
    found: dict[int, Path] = {}
    for path in sorted(path for pattern in patterns for path in folder.rglob(pattern)):
        index = layer_of(path.relative_to(folder).as_posix())
        index = layer(path) if index is None and layer is not None else index
        if index is None:
            raise TranscoderError(
                f"{path}: nothing in the path says which layer this is: "
                "put it into a folder layer_0, layer_1 and so on."
            )
        if index in found:
            raise TranscoderError(
                f"{folder} holds two dictionaries for layer {index}, {found[index].relative_to(folder)} and "
                f"{path.relative_to(folder)}: name the subfolder, or write a config.yaml that lists one file "
                "a layer."
            )
        found[index] = path
    missing = sorted(set(range(max(found, default=0) + 1)) - set(found))
    if missing:
        raise TranscoderError(
            f"{folder} holds {len(found)} layers up to {max(found)}, but not {', '.join(map(str, missing))}: "
            "a dictionary needs every layer of the model: is the download complete?"
        )
    return [found[index] for index in sorted(found)]


def holds(folder: Path, *patterns: str) -> bool:
    """Whether a folder, or one inside, has a file of such a name."""
    return any(next(folder.rglob(pattern), None) is not None for pattern in patterns)
