"""Reader of CLT-Forge: `clt_cfg.json` and `clt_weights.safetensors`.

`W_enc` (L,d,F), `b_enc` (L,F), `log_threshold` (L,F). Cross-layer sets have one decoder for each pair of
layers from and to, in the order (0,0), (0,1), ..., (1,1), ...: `W_dec` (L(L+1)/2,F,d) and `b_dec`
(L(L+1)/2,d), of which all that go to a layer are added up. Per-layer sets have `W_dec` (L,F,d) and `b_dec`
(L,d). Inputs are multiplied by `estimated_norm_scaling_factor_in` (L), outputs divided by
`estimated_norm_scaling_factor_out` (L). The library reads `ln2.hook_normalized` and writes `hook_mlp_out`,
whatever the model.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import JumpReLU
from pipeline.transcoders.formats.folder import FileFormat, layer_config, refuse_unknown_keys
from pipeline.transcoders.formats.stacked import same_factor, stacked_layers
from pipeline.transcoders.tensors import open_tensors
from pipeline.transcoders.transcoders import Transcoders
from pipeline.transcoders.weights import WrittenRows
from pipeline.untrusted import cut

_FILE, _CONFIG = "clt_weights.safetensors", "clt_cfg.json"

_KEYS = {
    *(
        "n_layers",
        "d_in",
        "d_latent",
        "cross_layer_decoders",
        "model_name",
        "dtype",
        "device",
        "seed",
        "debug",
    ),
    *("jumprelu_bandwidth", "jumprelu_init_threshold", "normalize_decoder", "dead_feature_window"),
    *("context_size", "functional_loss", "l0_coefficient", "ddp", "fsdp", "feature_sharding", "world_size"),
    "is_sharded",
}
"""Keys that are read, and those of training."""


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with one set.

    Raises:
        TranscoderError: the set is cut into one file a process, or its files are incomplete or corrupt.

    """
    path, config = layer_config(folder / _FILE, _CONFIG)
    refuse_unknown_keys(path, config, _KEYS)
    if not (folder / _FILE).is_file() and (parts := sorted(folder.glob(f"rank*_{_FILE}"))):
        raise TranscoderError(
            f"{folder} holds {len(parts)} files, {parts[0].name} and so on, each with some features of all "
            "layers: join them with CLT-Forge (`CLT.load_from_pretrained(folder).save_model(another)`)."
        )
    file = open_tensors(folder / _FILE)
    encoder = file.matrix("W_enc", 3)
    n_layers, width, features = encoder.shape
    for key, found in (("n_layers", n_layers), ("d_in", width), ("d_latent", features)):
        if config.get(key, found) != found:
            raise TranscoderError(
                f"{path}: {key} is {cut(config[key])}, but W_enc has {tuple(encoder.shape)}."
            )
    cross_layer = bool(config.get("cross_layer_decoders"))
    pairs = [(i, j) for i in range(n_layers) for j in range(i, n_layers if cross_layer else i + 1)]
    decoders = file.stored("W_dec", (len(pairs), features, width))
    biases = file.read("b_dec", (len(pairs), width)).float()
    reads, writes = (
        file.read(f"estimated_norm_scaling_factor_{side}", (n_layers,)).float() for side in ("in", "out")
    )
    thresholds = file.read("log_threshold", (n_layers, features)).float().exp()
    bias = torch.zeros(n_layers, width).index_add(0, torch.tensor([to for _, to in pairs]), biases)

    layers = stacked_layers(
        encoder,
        file.read("b_enc", (n_layers, features)),
        lambda index: [
            WrittenRows(decoders, place * features) for place, pair in enumerate(pairs) if pair[0] == index
        ],
        bias,
        lambda index, _: JumpReLU(thresholds[index]),
        same_factor(reads),
        same_factor(1 / writes),
    )
    file.refuse_unused(("layer_mask", "feature_count", "l_idx", "k_idx"))
    return Transcoders(layers, "ln2.hook_normalized", "hook_mlp_out", name)


FORMAT = FileFormat(
    name="CLT-Forge",
    files="`clt_cfg.json` and `clt_weights.safetensors`",
    kinds="PLT, CLT",
    activations="JumpReLU",
    published="",
    matches=lambda folder: (folder / _CONFIG).is_file(),
    read=read,
)
