"""Small random models of every architecture with random dictionaries, in memory and in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from pipeline import ReplacementModel
from pipeline.hub import Neurons
from pipeline.model.architectures import architecture_of
from pipeline.model.neurons import neuron_transcoders
from pipeline.model.unnormed import add_missing_norms
from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU, TopK
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders

EXPERTS = ("gpt_oss", "mixtral", "qwen2_moe", "qwen3_moe")

VOCABULARY = 40
FEATURES = 20


@dataclass(frozen=True)
class Recipe:
    """What a random model is made of."""

    model_type: str = "llama"
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    activation: str = "relu"
    """Of a random dictionary; or `neurons`, and then there is none."""
    cross_layer: bool = False
    skip: bool = False
    input_hook: str = "mlp.hook_in"
    seed: int = 0
    options: tuple[tuple[str, object], ...] = ()
    """Further keys of the model's configuration."""

    @property
    def width(self) -> int:
        return 4 * self.heads


def random_model(recipe: Recipe, dtype: torch.dtype = torch.float64) -> ReplacementModel:
    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_config(_config(recipe), attn_implementation="eager")
    if recipe.model_type in EXPERTS or dict(recipe.options).get("enable_moe_block"):
        model.set_experts_implementation("eager")  # the grouped product has no float64
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)  # also biases and norm weights, which start at 0 and 1
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.uniform_(0.5, 1.5)
    model = model.to(dtype).eval().requires_grad_(False)
    architecture = architecture_of(model.config)
    add_missing_norms(model, architecture)
    neurons = Neurons.named(recipe.activation)
    transcoders = neuron_transcoders(model, architecture, neurons) if neurons else _transcoders(recipe, dtype)
    return ReplacementModel.assemble("random", model, tokenizer(), architecture, transcoders)


def _config(recipe: Recipe):
    return AutoConfig.for_model(
        recipe.model_type,
        vocab_size=VOCABULARY,
        hidden_size=recipe.width,
        intermediate_size=24,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=4,
        max_position_embeddings=32,
        sliding_window=3,
        num_local_experts=4,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=6,
        shared_expert_intermediate_size=6,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in recipe.options},
    )


def _transcoders(recipe: Recipe, dtype: torch.dtype) -> Transcoders:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype) * 0.5

    layers = tuple(
        TranscoderLayer(
            encoder=random(FEATURES, recipe.width),
            encoder_bias=random(FEATURES),
            decoder=random(FEATURES, recipe.layers - layer if recipe.cross_layer else 1, recipe.width),
            decoder_bias=random(recipe.width),
            activation=_activation(recipe.activation, dtype),
            skip=random(recipe.width, recipe.width) if recipe.skip else None,
        )
        for layer in range(recipe.layers)
    )
    return Transcoders(layers, recipe.input_hook, "hook_mlp_out", "random")


def _activation(name: str, dtype: torch.dtype) -> Activation:
    if name == "topk":
        return TopK(4)
    if name == "gated":
        return Gated(
            TopK(4, rectified=True),
            torch.rand(FEATURES, dtype=dtype) + 0.5,
            torch.randn(FEATURES, dtype=dtype),
        )
    return JumpReLU(torch.rand(FEATURES, dtype=dtype)) if name == "jumprelu" else ReLU()


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<bos>", "<eos>", *(f"w{index}" for index in range(3, VOCABULARY))]
    level = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>"))
    level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=level, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
