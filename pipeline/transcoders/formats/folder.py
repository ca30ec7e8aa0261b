"""A format's description, and a folder's files and configurations, which several formats have in common.

A file's path says its layer (`selection.layer_of`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import TranscoderError
from pipeline.transcoders.formats.layout import LayerLayout
from pipeline.transcoders.selection import check_one_set, layer_of
from pipeline.transcoders.transcoders import Transcoders
from pipeline.untrusted import JSON_BYTES, YAML_BYTES, cut, parse_json, parse_yaml, read_bounded


@dataclass(frozen=True)
class FileFormat:
    """One format: how to recognise it, what it can hold, how to read it."""

    name: str
    """Name that people use for it."""

    files: str
    """Contents of a folder in it, for the table and for the message about a folder in no format."""

    kinds: str
    """Kinds of transcoders: PLT, CLT, either with a skip path."""

    activations: str
    """Activation functions it can say."""

    published: str
    """A set that people use, or nothing."""

    matches: Callable[[Path], bool]
    """Tells that a folder is in this format."""

    read: Callable[[Path, str], Transcoders]
    """Reader of a folder, called with its path and the name that the user gave."""

    layout: LayerLayout | None = None
    """Layout of one layer's file, where the format has one file a layer."""

    read_files: Callable[[Sequence[Path], str], Transcoders] | None = None
    """Reader of such files, one a layer, where they can be read without a configuration of the whole set."""


def set_config(folder: Path) -> dict[str, Any]:
    """Read the `config.yaml` that lies beside a whole set.

    Raises:
        TranscoderError: it is missing, or holds no keys and values.

    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise TranscoderError(
            f"{path} is missing: a transcoder folder holds config.yaml beside its safetensors files."
        )
    try:
        config, _ = parse_yaml(read_bounded(path, YAML_BYTES).decode())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise TranscoderError(f"{path} is not readable as YAML: {error}") from error
    return _checked(config, path)


def layer_config(weights: Path, name: str = "cfg.json") -> tuple[Path, dict[str, Any]]:
    """Read the configuration that lies beside one layer's weights; return its path too.

    Raises:
        TranscoderError: it is missing, or holds no keys and values.

    """
    path = weights.with_name(name)
    if not path.is_file():
        raise TranscoderError(f"{path} is missing: it says how to use {weights.name}: fetch it.")
    try:
        config = parse_json(read_bounded(path, JSON_BYTES))
    except (ValueError, OSError) as error:
        raise TranscoderError(f"{path} is not readable as JSON ({error}): fetch it again.") from error
    return path, _checked(config, path)


def section(config: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """Return the keys and values under a key of a configuration; none where it is missing.

    Raises:
        TranscoderError: it holds something else.

    """
    found = config.get(key)
    if found is not None and not isinstance(found, dict):
        raise TranscoderError(f"{path}: {key} is {cut(found)}, but must hold keys and values.")
    return found or {}


def whole_number(config: dict[str, Any], key: str, path: Path, default: int | None = None) -> int:
    """Return a whole number, at least 0, of a configuration.

    Raises:
        TranscoderError: it is missing, or something else.

    """
    found = config.get(key)
    found = default if found is None else found
    if type(found) is not int or found < 0:
        raise TranscoderError(f"{path}: {key} is {cut(found)}, but must be a whole number.")
    return found


def refuse_unknown_keys(path: Path, config: dict[str, Any], known: Collection[str]) -> None:
    """Refuse keys of a configuration that no reader knows, unless they are switched off: they might change
    what the dictionary computes.

    Args:
        path: the configuration's, for the message.
        config: its keys and values.
        known: keys that are read, or that change nothing.

    Raises:
        TranscoderError: with the keys and their values.

    """
    unknown = {
        key: value
        for key, value in config.items()
        if key not in known and value not in (None, False, 0, "", "none", [], {})
    }
    if unknown:
        said = ", ".join(f"{key}: {cut(value)}" for key, value in sorted(unknown.items(), key=str))[:400]
        raise TranscoderError(
            f"{path} says {said}, which is not known here and might change what the dictionary computes. "
            "Delete what is only a note; otherwise the set is of another format, or from a newer version of "
            "its library."
        )


def _checked(config: Any, path: Path) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise TranscoderError(f"{path} holds {type(config).__name__}, but must hold keys and values.")
    return config


def layer_files(
    folder: Path, patterns: tuple[str, ...], layer: Callable[[Path], int | None] | None = None
) -> list[Path]:
    """Return one file a layer, from the first.

    Args:
        folder: searched with all folders inside.
        patterns: the files' names, with wildcards.
        layer: tells a file's layer where its path does not.

    Raises:
        TranscoderError: a layer is missing, a layer has two files, or a file's layer is not known.

    """
    found: dict[int, Path] = {}
    check_one_set(
        [path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern)],
        str(folder),
    )
    for path in sorted(path for pattern in patterns for path in folder.rglob(pattern)):
        index = layer_of(path.relative_to(folder).as_posix())
        index = layer(path) if index is None and layer is not None else index
        if index is None:
            raise TranscoderError(
                f"{path}: nothing in the path says which layer this is: "
                "put it into a folder layer_0, layer_1 and so on."
            )
        if index in found:  # the configurations say so, where the paths do not
            raise TranscoderError(
                f"{folder} holds two files for layer {index}, {found[index].relative_to(folder)} and "
                f"{path.relative_to(folder)}: name the folder of one set."
            )
        found[index] = path
    missing = sorted(set(range(max(found, default=0) + 1)) - set(found))
    if missing:
        raise TranscoderError(
            f"{folder} holds {len(found)} layers up to {max(found)}, but not {', '.join(map(str, missing))}: "
            "every layer of the model needs one: is the download complete?"
        )
    return [found[index] for index in sorted(found)]


def numbered_files(folder: Path, name: str) -> list[Path]:
    """Return the files that a pattern such as `layer_{}.safetensors` names, from 0 to as many as there are.

    Raises:
        TranscoderError: there is none.

    """
    numbered = re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))
    numbers = [int(found[1]) for path in folder.iterdir() if (found := numbered.fullmatch(path.name))]
    if not numbers:
        raise TranscoderError(f"{folder} holds no {name.format('*')}: is the download complete?")
    return [folder / name.format(index) for index in range(max(numbers) + 1)]


def holds(folder: Path, *patterns: str) -> bool:
    """Tell if a folder, or one inside, has a file of such a name."""
    return any(next(folder.rglob(pattern), None) is not None for pattern in patterns)
