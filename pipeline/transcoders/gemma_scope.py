"""Reader of GemmaScope: one `params.npz` a layer (Gemma 2; arXiv 2408.05147).

`W_enc` (d,F), `W_dec` (F,d), `b_enc`, `b_dec`, `threshold` (F), JumpReLU. The published repository holds
several widths and sparsities of each layer; `mntss/gemma-scope-transcoders` is a circuit-tracer
configuration that lists one of each. The features read the normalised residual before the norm's weight.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.transcoders.activation import rectified_threshold
from pipeline.transcoders.file_format import FileFormat
from pipeline.transcoders.layer_files import holds, layer_files
from pipeline.transcoders.npz import open_npz
from pipeline.transcoders.stored import TensorFile
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder of `params.npz` files."""
    layers = tuple(layer(open_npz(path)) for path in layer_files(folder, ("params.npz",)))
    return Transcoders(layers, "ln2.hook_normalized", "hook_mlp_out", name)


def layer(file: TensorFile) -> TranscoderLayer:
    """Read one layer."""
    encoder = file.matrix("W_enc")
    width, features = encoder.shape
    return TranscoderLayer(
        encoder=StoredEncoder.of(encoder, transposed=True),
        encoder_bias=file.read("b_enc", (features,)),
        decoder=StoredDecoder.per_layer(file.stored("W_dec", (features, width))),
        decoder_bias=file.read("b_dec", (width,)),
        activation=rectified_threshold(file.read("threshold", (features,))),
    )


FORMAT = FileFormat(
    name="GemmaScope",
    files="`params.npz` a layer",
    kinds="PLT",
    activations="JumpReLU",
    published="`google/gemma-scope-2b-pt-transcoders`",
    matches=lambda folder: holds(folder, "params.npz"),
    read=read,
)
