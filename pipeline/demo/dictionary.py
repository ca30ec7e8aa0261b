"""One layer's transcoder: features read from the MLP's input, written to its output."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor


@dataclass(frozen=True)
class Dictionary:
    """A JumpReLU transcoder: y = jump(x @ encoder.T + encoder_bias) @ decoder + decoder_bias."""

    encoder: Float[Tensor, "features d_model"]
    """What each feature reads."""

    encoder_bias: Float[Tensor, " features"]
    """Added to each feature's reading."""

    decoder: Float[Tensor, "features d_model"]
    """What each feature writes, per unit of activation."""

    decoder_bias: Float[Tensor, " d_model"]
    """Added to what is written."""

    threshold: Float[Tensor, " features"]
    """A reading counts when it is above this (strictly)."""

    def encode(self, inputs: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows features"]:
        """Return the activation of every feature."""
        readings = inputs @ self.encoder.T + self.encoder_bias
        return readings * (readings > self.threshold)

    def decode(self, features: Float[Tensor, "*rows features"]) -> Float[Tensor, "*rows d_model"]:
        """Return what the active features write."""
        return features @ self.decoder + self.decoder_bias

    def __call__(self, inputs: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        """Return the reconstruction of the MLP's output."""
        return self.decode(self.encode(inputs))

    def round_to_half(self) -> "Dictionary":
        """Round to what float16 can hold, and keep float32."""
        return Dictionary(**{name: tensor.half().float() for name, tensor in vars(self).items()})


_FILE_NAMES = {
    "encoder": "W_enc",
    "encoder_bias": "b_enc",
    "decoder": "W_dec",
    "decoder_bias": "b_dec",
    "threshold": "activation_function.threshold",
}


def save_dictionaries(dictionaries: list[Dictionary], folder: Path, name: str) -> None:
    """Write a set in circuit-tracer's per-layer format, in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"layer_{layer}.safetensors" for layer in range(len(dictionaries))]
    for dictionary, file in zip(dictionaries, files, strict=True):
        tensors = {_FILE_NAMES[key]: value.half().contiguous() for key, value in vars(dictionary).items()}
        save_file(tensors, folder / file)
    config = {
        "model_kind": "transcoder_set",
        "model_name": name,
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out",
        "scan": name,
        "transcoders": files,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def load_dictionaries(folder: Path) -> list[Dictionary]:
    """Read a set that `save_dictionaries` wrote, as float32."""
    files = yaml.safe_load((folder / "config.yaml").read_text())["transcoders"]
    loaded = [load_file(folder / file) for file in files]
    return [Dictionary(**{key: t[name].float() for key, name in _FILE_NAMES.items()}) for t in loaded]
