"""Models of fixed shape with random weights, to time the engine on any machine.

Random weights give no meaning but the same arithmetic. Encoders see a normal distribution, from which
the threshold follows that leaves the wanted number of features active.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from pipeline.model import ReplacementModel, architecture_of
from pipeline.transcoders import HookPoint, JumpReLU, TranscoderLayer, Transcoders


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and its per-layer transcoders."""

    model_type: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    features: int
    active: int
    """Active features per token and layer, on average."""
    input_hook: HookPoint
    output_hook: HookPoint


SHAPES = {
    "medium": Shape("llama", 12, 512, 8, 4, 64, 8192, 8192, 40, "mlp.hook_in", "mlp.hook_out"),
    "gemma-2-2b": Shape(
        "gemma2", 26, 2304, 8, 4, 256, 256_000, 16_384, 60, "ln2.hook_normalized", "hook_mlp_out"
    ),
}


def build(
    name: str, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> ReplacementModel:
    """Build a model of a named shape; the same seed gives the same weights on the same kind of device."""
    shape = SHAPES[name]
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        shape.model_type,
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        vocab_size=shape.vocabulary,
        max_position_embeddings=8192,
        initializer_range=0.05,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype)
        transcoders = _transcoders(shape, dtype, name)
    model = model.to(device).eval().requires_grad_(False)
    return ReplacementModel.assemble(
        name, model, _tokenizer(shape.vocabulary), architecture_of(config), transcoders
    )


def prompt(n_tokens: int, vocabulary: int = SHAPES["medium"].vocabulary, seed: int = 0) -> list[int]:
    """Return random token ids, opened by BOS."""
    generator = torch.Generator().manual_seed(seed)
    return [1, *torch.randint(3, vocabulary, (n_tokens - 1,), generator=generator).tolist()]


def _transcoders(shape: Shape, dtype: torch.dtype, name: str) -> Transcoders:
    threshold = NormalDist().inv_cdf(1 - shape.active / shape.features)
    random = partial(torch.randn, dtype=dtype)
    layers = [
        TranscoderLayer(
            encoder=random(shape.features, shape.width) / shape.width**0.5,
            encoder_bias=torch.zeros(shape.features, dtype=dtype),
            decoder=random(shape.features, 1, shape.width) / shape.width,
            decoder_bias=torch.zeros(shape.width, dtype=dtype),
            activation=JumpReLU(torch.full((shape.features,), threshold, dtype=dtype)),
        )
        for _ in range(shape.layers)
    ]
    return Transcoders(tuple(layers), shape.input_hook, shape.output_hook, name)


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = ["<pad>", "<bos>", "<eos>", *(f"w{index}" for index in range(3, vocabulary))]
    level = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>"))
    level.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=level, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
