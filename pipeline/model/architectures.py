"""Differences between model architectures, one description each, side by side.

A description names the modules of the Hugging Face implementation that the frozen linear model needs
and says how the architecture normalises. Adding an architecture is adding an entry to `ARCHITECTURES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Norm(Enum):
    """Kinds of normalisation."""

    RMS = "rms"
    """`x * rsqrt(mean x^2 + eps) * weight`."""

    RMS_PLUS_ONE = "rms+1"
    """The same with `1 + weight` (Gemma)."""

    LAYER = "layer"
    """`(x - mean) / std * weight + bias` (GPT-2, Pythia)."""


Projections = tuple[Float[Tensor, "Kh d"], Float[Tensor, "d Hh"]]


def separate_projections(attention: nn.Module, n_heads: int) -> Projections:
    """Return value and output weights of an attention with one linear layer each."""
    return attention.v_proj.weight, attention.o_proj.weight


def gemma4_projections(attention: nn.Module, n_heads: int) -> Projections:
    """Return value and output weights of Gemma 4: values may be the keys, or those of a layer below."""
    output = attention.o_proj.weight
    if attention.is_kv_shared_layer:
        return output.new_zeros(0, output.shape[0]), output
    value = attention.k_proj if attention.v_proj is None else attention.v_proj
    return value.weight, output


def gpt2_projections(attention: nn.Module, n_heads: int) -> Projections:
    """Return value and output weights of GPT-2, whose weights are transposed and fused as [q, k, v]."""
    width = attention.c_attn.weight.shape[0]
    return attention.c_attn.weight[:, 2 * width :].T, attention.c_proj.weight.T


def neox_projections(attention: nn.Module, n_heads: int) -> Projections:
    """Return value and output weights of GPT-NeoX, which fuses [q, k, v] head by head."""
    fused = attention.query_key_value.weight
    by_head = fused.view(n_heads, 3, -1, fused.shape[1])
    return by_head[:, 2].reshape(-1, fused.shape[1]), attention.dense.weight


def phi3_projections(attention: nn.Module, n_heads: int) -> Projections:
    """Return value and output weights of Phi-3, which fuses [q, k, v] with fewer keys than queries."""
    values = attention.num_key_value_heads * attention.head_dim
    return attention.qkv_proj.weight[-values:], attention.o_proj.weight


@dataclass(frozen=True)
class Architecture:
    """Module names and conventions of one architecture; paths are relative to the model or the layer."""

    name: str
    """Common name of the architecture."""

    model_types: tuple[str, ...]
    """`model_type` in the Hugging Face configuration."""

    norm: Norm = Norm.RMS
    """Normalisation, the same at every norm."""

    layers: str = "model.layers"
    """The list of decoder layers."""

    embedding: str = "model.embed_tokens"
    """Token embedding; its output is the token node's vector."""

    final_norm: str = "model.norm"
    """Norm in front of the unembedding."""

    attention: str = "self_attn"
    """Attention module of a layer; its second output is the pattern."""

    attention_norm: str = "input_layernorm"
    """Norm that the attention reads through."""

    attention_output_norm: str | None = None
    """Norm between the attention and the residual stream."""

    mlp: str = "mlp"
    """MLP module of a layer; a tuple's first entry is its output."""

    mlp_norm: str = "post_attention_layernorm"
    """Norm that the MLP reads through."""

    mlp_output_norm: str | None = None
    """Norm between the MLP and the residual stream."""

    projections: Callable[[nn.Module, int], Projections] = separate_projections
    """Function that finds the value and output weights of an attention module."""

    parallel: bool = False
    """The MLP reads the residual stream before the attention has written to it."""

    value_norm: str | None = None
    """Norm of each head's values, without a weight; layers that take others' values lack it."""

    token_writer: str | None = None
    """Module of a layer whose output, a function of the token behind a gate, goes into the residual stream
    after the MLP's; layers may lack it. The gate is held, so it is the token that writes it."""

    scalar: str | None = None
    """A number of a layer that its whole residual stream is multiplied by at the end."""

    reads_unnormed: bool = False
    """Attention and MLP read the residual stream as it is; norms stand only behind them (OLMo 2)."""


_GEMMA = {
    "norm": Norm.RMS_PLUS_ONE,
    "attention_output_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_output_norm": "post_feedforward_layernorm",
}

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("Llama", ("llama",)),
    Architecture("Mistral", ("mistral",)),
    Architecture("Mixtral", ("mixtral",)),
    Architecture("Qwen 2, Qwen 2.5", ("qwen2",)),
    Architecture("Qwen 2 MoE", ("qwen2_moe",)),
    Architecture("Qwen 3", ("qwen3",)),
    Architecture("Qwen 3 MoE", ("qwen3_moe",)),
    Architecture("SmolLM 3", ("smollm3",)),
    Architecture("Phi-3, Phi-4", ("phi3",), projections=phi3_projections),
    Architecture(
        "OLMo 2, OLMo 3",
        ("olmo2", "olmo3"),
        attention="self_attn.module",
        attention_norm="self_attn.norm",
        attention_output_norm="post_attention_layernorm",
        mlp="mlp.module",
        mlp_norm="mlp.norm",
        mlp_output_norm="post_feedforward_layernorm",
        reads_unnormed=True,
    ),
    Architecture("Gemma 1", ("gemma",), norm=Norm.RMS_PLUS_ONE),
    Architecture("Gemma 2", ("gemma2",), **_GEMMA),
    Architecture("Gemma 3", ("gemma3_text",), **_GEMMA),
    Architecture(
        "Gemma 4",
        ("gemma4_text", "gemma4_unified_text"),
        **{**_GEMMA, "norm": Norm.RMS},
        projections=gemma4_projections,
        value_norm="self_attn.v_norm",
        token_writer="post_per_layer_input_norm",
        scalar="layer_scalar",
    ),
    Architecture("gpt-oss", ("gpt_oss",)),
    Architecture(
        "GPT-2",
        ("gpt2",),
        norm=Norm.LAYER,
        layers="transformer.h",
        embedding="transformer.wte",
        final_norm="transformer.ln_f",
        attention="attn",
        attention_norm="ln_1",
        mlp_norm="ln_2",
        projections=gpt2_projections,
    ),
    Architecture(
        "Pythia / GPT-NeoX",
        ("gpt_neox",),
        norm=Norm.LAYER,
        layers="gpt_neox.layers",
        embedding="gpt_neox.embed_in",
        final_norm="gpt_neox.final_layer_norm",
        attention="attention",
        projections=neox_projections,
        parallel=True,
    ),
)


def optional_module(layer: nn.Module, path: str | None) -> nn.Module | None:
    """Return a module that not every architecture or layer has, or None."""
    try:
        return None if path is None else layer.get_submodule(path)
    except AttributeError:
        return None


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Return the description of a model by its Hugging Face configuration.

    Raises:
        ModelError: the architecture is not supported (the message lists those that are), or this model of it
            looks at later tokens.

    """
    for architecture in ARCHITECTURES:
        if config.model_type in architecture.model_types:
            _check_causal(config)
            # Serial and parallel are the same modules in GPT-NeoX, and the configuration chooses.
            parallel = getattr(config, "use_parallel_residual", architecture.parallel)
            return replace(architecture, parallel=parallel)
    known = ", ".join(f"{each.name} ({'/'.join(each.model_types)})" for each in ARCHITECTURES)
    raise ModelError(f"model architecture {config.model_type!r} is not supported; supported are {known}.")


def _check_causal(config: PretrainedConfig) -> None:
    """Refuse models in which a token sees later ones: rows are computed up to their own position only."""
    said = {key: getattr(config, key, None) for key in ("use_bidirectional_attention", "is_causal")}
    # In Gemma 4 `vision` means that the parts of a picture see one another; of a text it changes nothing.
    if said["use_bidirectional_attention"] not in (None, False, "vision") or said["is_causal"] is False:
        given = ", ".join(f"{key}: {value}" for key, value in said.items() if value is not None)
        raise ModelError(
            f"model of type {config.model_type!r} looks at later tokens too ({given}): it embeds texts and "
            "predicts no next token, so there is no graph of it. Take the causal model that it was made from."
        )


def table() -> str:
    """Return the supported architectures as a Markdown table."""
    norms = {Norm.RMS: "RMS", Norm.RMS_PLUS_ONE: "RMS, weight + 1", Norm.LAYER: "layer norm"}
    lines = ["| Architecture | `model_type` | Norm | Around the MLP |", "| --- | --- | --- | --- |"]
    for architecture in ARCHITECTURES:
        around = "after the attention"
        if architecture.parallel:
            around = "parallel to the attention, or after it (`use_parallel_residual: false`)"
        if architecture.mlp_output_norm:
            around += (
                ", normed only on the way out" if architecture.reads_unnormed else ", normed on the way out"
            )
        types = ", ".join(f"`{name}`" for name in architecture.model_types)
        lines.append(f"| {architecture.name} | {types} | {norms[architecture.norm]} | {around} |")
    return "\n".join(lines)
