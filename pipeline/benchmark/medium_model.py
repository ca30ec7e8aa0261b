"""A model of fixed shape with random weights, to time the engine on any machine.

Random weights give no meaning but the same arithmetic: 12 layers, width 512, 8 heads, 4 key/value
heads, vocabulary 8192, and JumpReLU transcoders of 8192 features, of which about 40 are active per
token and layer. The threshold is set from the normal distribution that random encoders see.
"""

from __future__ import annotations

from statistics import NormalDist

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.model import ReplacementModel, family_of
from pipeline.transcoders import JumpReLU, TranscoderLayer, Transcoders

LAYERS, WIDTH, HEADS, KEY_VALUE_HEADS, VOCABULARY, FEATURES = 12, 512, 8, 4, 8192, 8192
ACTIVE = 40
"""Active features per token and layer, on average."""


def medium_model(seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32) -> ReplacementModel:
    """Build the model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        vocab_size=VOCABULARY,
        max_position_embeddings=4096,
        initializer_range=0.05,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False).to(device, dtype)
    return ReplacementModel.assemble("medium", model, _tokenizer(), family_of("llama"), _transcoders())


def prompt(n_tokens: int, seed: int = 0) -> list[int]:
    """Return random token ids, opened by BOS."""
    generator = torch.Generator().manual_seed(seed)
    return [1, *torch.randint(3, VOCABULARY, (n_tokens - 1,), generator=generator).tolist()]


def _transcoders() -> Transcoders:
    threshold = NormalDist().inv_cdf(1 - ACTIVE / FEATURES)
    layers = [
        TranscoderLayer(
            encoder=torch.randn(FEATURES, WIDTH) / WIDTH**0.5,
            encoder_bias=torch.zeros(FEATURES),
            decoder=torch.randn(FEATURES, 1, WIDTH) / WIDTH,
            decoder_bias=torch.zeros(WIDTH),
            activation=JumpReLU(torch.full((FEATURES,), threshold)),
        )
        for _ in range(LAYERS)
    ]
    return Transcoders(tuple(layers), "mlp.hook_in", "mlp.hook_out", "medium")


def _tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<bos>", "<eos>", *(f"w{index}" for index in range(3, VOCABULARY))]
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
