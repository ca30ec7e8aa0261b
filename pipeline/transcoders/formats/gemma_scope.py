"""Reader of GemmaScope: one `params.npz` a layer (Gemma 2; arXiv 2408.05147).

`W_enc` (d,F), `W_dec` (F,d), `b_enc`, `b_dec`, `threshold` (F), JumpReLU. The published repository holds
several widths and sparsities of each layer; `mntss/gemma-scope-transcoders` is a circuit-tracer
configuration that lists one of each. The features read the normalised residual before the norm's weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.transcoders.formats.folder import FileFormat, holds, layer_files
from pipeline.transcoders.formats.layout import LayerLayout, clamped_threshold, read_set
from pipeline.transcoders.transcoders import Transcoders

LAYOUT = LayerLayout(
    matches=lambda tensors: tensors.path.suffix == ".npz",
    activation=clamped_threshold,
    encoder_is_transposed=True,
)


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder of `params.npz` files."""
    return read_files(layer_files(folder, ("params.npz",)), name)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer."""
    return read_set(paths, LAYOUT, name, "ln2.hook_normalized", "hook_mlp_out")


FORMAT = FileFormat(
    name="GemmaScope",
    files="`params.npz` a layer",
    kinds="PLT",
    activations="JumpReLU",
    published="`google/gemma-scope-2b-pt-transcoders`",
    matches=lambda folder: holds(folder, "params.npz"),
    read=read,
    layout=LAYOUT,
    read_files=read_files,
)
