"""Open a file of tensors of either kind."""

from __future__ import annotations

from pathlib import Path

from pipeline.transcoders.tensors.npz import open_npz
from pipeline.transcoders.tensors.stored import TensorFile, open_safetensors


def open_tensors(path: Path) -> TensorFile:
    """Open a safetensors or npz file.

    Raises:
        TranscoderError: it is missing, corrupt, or of an element type that is not read.

    """
    return open_npz(path) if path.suffix == ".npz" else open_safetensors(path)
