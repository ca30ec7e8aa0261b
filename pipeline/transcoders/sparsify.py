"""Reader of EleutherAI's sparsify: `{hookpoint}/cfg.json` and `sae.safetensors`, a folder a layer.

`encoder.weight` (F,d), `encoder.bias`, `W_dec` (F,d), `b_dec`, optional `W_skip` (d,d; applied as
`x @ W_skip^T`). Pre-activations pass a ReLU before the TopK. A transcoder's hook point is an MLP
(`layers.3.mlp`): it reads what the MLP reads and writes what it writes, and unlike the
autoencoders of this library it does not subtract `b_dec` from its input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import top_k
from pipeline.transcoders.file_format import FileFormat
from pipeline.transcoders.layer_config import layer_config
from pipeline.transcoders.layer_files import holds, layer_files
from pipeline.transcoders.stored import TensorFile, open_safetensors
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder

_FILE = "sae.safetensors"


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with a folder for each hook point."""
    paths = layer_files(folder, (_FILE,))
    for path in paths:
        if not path.parent.name.endswith("mlp"):
            raise TranscoderError(
                f"{path}: hook point {path.parent.name!r} is no MLP: a transcoder stands in for one, and its "
                "folder is called layers.0.mlp, say."
            )
    return Transcoders(
        tuple(layer(open_safetensors(path)) for path in paths), "mlp.hook_in", "mlp.hook_out", name
    )


def is_layer(file: TensorFile) -> bool:
    """Whether a file is one layer in this format."""
    return "encoder.weight" in file


def layer(file: TensorFile) -> TranscoderLayer:
    """Read one layer and the configuration beside it."""
    path, config = layer_config(file.path)
    _check(path, config)
    encoder = file.matrix("encoder.weight")
    features, width = encoder.shape
    return TranscoderLayer(
        encoder=StoredEncoder.of(encoder),
        encoder_bias=file.read("encoder.bias", (features,)),
        decoder=StoredDecoder.per_layer(file.stored("W_dec", (features, width))),
        decoder_bias=file.read("b_dec", (width,)),
        activation=top_k(config.get("k"), features, path, rectified=True),
        skip=file.read("W_skip", (width, width)).T if "W_skip" in file else None,
    )


def _check(path: Path, config: dict[str, Any]) -> None:
    if not (config.get("transcode") or config.get("skip_connection")):
        raise TranscoderError(
            f"{path}: transcode is {config.get('transcode')!r}, so this is an autoencoder of a layer's "
            "output, which cannot stand in for an MLP: use a set that was trained with transcode."
        )
    if config.get("activation", "topk") != "topk":
        raise TranscoderError(f"{path}: activation is {config['activation']!r}; only topk is read.")


FORMAT = FileFormat(
    name="sparsify",
    files="`{hookpoint}/cfg.json` and `{hookpoint}/sae.safetensors`",
    kinds="PLT, skip",
    activations="TopK",
    published="`EleutherAI/skip-transcoder-*`",
    matches=lambda folder: holds(folder, _FILE),
    read=read,
)
