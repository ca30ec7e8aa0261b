"""What describes one file format of dictionaries: how to know it, how to read it, what it can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.transcoders.npz import open_npz
from pipeline.transcoders.stored import TensorFile, open_safetensors
from pipeline.transcoders.transcoders import Transcoders


@dataclass(frozen=True)
class FileFormat:
    """One format. A folder in it is read by `read` into the one form that the engine knows."""

    name: str
    """What people call it."""

    files: str
    """What a folder in it holds, for the table and for the message about a folder in no format."""

    kinds: str
    """Kinds of dictionaries: PLT, CLT, either with a skip path."""

    activations: str
    """Activation functions it can say."""

    published: str
    """A set that people use, or nothing."""

    matches: Callable[[Path], bool]
    """Whether a folder is in this format."""

    read: Callable[[Path, str], Transcoders]
    """Reads a folder, given it and the name it was asked for by."""


def open_tensors(path: Path) -> TensorFile:
    """Open a file of tensors of either kind.

    Raises:
        TranscoderError: it is missing, corrupt, or of an element type that is not read.

    """
    return open_npz(path) if path.suffix == ".npz" else open_safetensors(path)
