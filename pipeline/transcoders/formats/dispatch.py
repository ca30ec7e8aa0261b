"""The table of formats: it tells the format of a folder, or of one file that a configuration lists.

A folder is recognised by the files in it, a single file by its tensors. Order matters where something fits
two formats: a `config.yaml` that lists files decides before the files do, and circuit-tracer's names for
tensors are so plain that its layout is tried last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.transcoders.formats import (
    bluelight,
    circuit_tracer,
    clt_forge,
    clt_training,
    crosslayer_coding,
    crosslayer_transcoder,
    gemma_scope,
    gemma_scope_2,
    open_moss,
    sae_lens,
    sparsify,
)
from pipeline.transcoders.formats.folder import FileFormat
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, read_layer
from pipeline.transcoders.tensors import TensorFile, open_tensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders

FORMATS: tuple[FileFormat, ...] = (
    circuit_tracer.FORMAT,
    bluelight.FORMAT,
    clt_forge.FORMAT,
    clt_training.FORMAT,
    crosslayer_coding.FORMAT,
    crosslayer_transcoder.FORMAT,
    gemma_scope.FORMAT,
    gemma_scope_2.FORMAT,
    open_moss.FORMAT,
    sae_lens.FORMAT,
    sparsify.FORMAT,
)


_BY_TENSORS = (*FORMATS[1:], FORMATS[0])
"""Formats in the order in which one file is tried: circuit-tracer's names fit any."""


def read_folder(folder: Path, name: str, commits: Mapping[str, str]) -> Transcoders:
    """Read a folder in the format that it is in, and files that its configuration lists each in its own.

    Args:
        folder: holds the files.
        name: by which it was asked for; a set that does not name itself is called so.
        commits: those that repositories of listed files are pinned to, by `HubName.repository_url`.

    Raises:
        TranscoderError: the folder is in no format that is known, or its files are incomplete or corrupt.

    """
    found = format_of(folder)
    return replace(_read_folder(folder, name, commits, found), format=found.name)


def _read_folder(folder: Path, name: str, commits: Mapping[str, str], found: FileFormat) -> Transcoders:
    if found is not circuit_tracer.FORMAT:
        return found.read(folder, name)
    config = circuit_tracer.read_config(folder, name)
    paths = circuit_tracer.listed_files(folder, config, commits)
    if not paths:
        return found.read(folder, name)
    layers = (_listed_layer(path, index, len(paths), config) for index, path in enumerate(paths))
    return circuit_tracer.assemble(folder, name, config, layers)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer, from the first, in whichever format they are.

    Raises:
        TranscoderError: it is of a format that needs more than such files, or they are incomplete or corrupt.

    """
    tensors = open_tensors(paths[0])
    for known in _BY_TENSORS:
        if known.layout is not None and known.layout.matches(tensors):
            if known.read_files is None:
                raise TranscoderError(
                    f"{paths[0]} looks like {known.name}, whose files are read only through a config.yaml: "
                    "write one that lists them under `transcoders`."
                )
            return replace(known.read_files(paths, name), format=known.name)
    raise TranscoderError(f"{paths[0]} is one layer of no known format.")


def format_of(folder: Path) -> FileFormat:
    """Return the format that a folder is in.

    Raises:
        TranscoderError: it is in none that is known.

    """
    for candidate in FORMATS:
        if candidate.matches(folder):
            return candidate
    looked_for = "; ".join(f"{known.name}: {known.files}" for known in FORMATS)
    hint = ""
    if any(folder.glob("layer_*.safetensors")) or any(folder.glob("W_enc_*.safetensors")):
        hint = (
            " Its files look like circuit-tracer's: write a config.yaml beside them with model_kind "
            "(transcoder_set or cross_layer_transcoder), feature_input_hook and feature_output_hook."
        )
    raise TranscoderError(f"{folder} holds no transcoders in a known format.{hint} Looked for {looked_for}.")


def _listed_layer(path: Path, index: int, n_layers: int, config: Mapping[str, Any]) -> TranscoderLayer:
    file = LayerFile(open_tensors(path), index, n_layers, config)
    layout = _layout_of(file.tensors)
    layer, said = read_layer(file, layout), layout.points(file)
    for point, key in ((said.reads, "feature_input_hook"), (said.writes, "feature_output_hook")):
        if point not in (None, config.get(key)):
            raise TranscoderError(
                f"config.yaml says {key}: {config.get(key)}, but the configuration beside {path} says "
                f"{point}: a dictionary read at the wrong one gives other numbers. Correct config.yaml."
            )
    return layer


def _layout_of(tensors: TensorFile) -> LayerLayout:
    # circuit-tracer's last: its tensors have names that others use too.
    layouts = [known.layout for known in _BY_TENSORS if known.layout is not None]
    return next(layout for layout in layouts if layout.matches(tensors))


def table() -> str:
    """Return the table of formats in Markdown."""
    rows = [
        ("Format", "What the folder holds", "Kinds", "Activations", "Published sets"),
        ("---",) * 5,
        *((known.name, known.files, known.kinds, known.activations, known.published) for known in FORMATS),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
