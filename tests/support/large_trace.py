"""Trace a prompt with a large dictionary and see how much memory that took; for a process of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pipeline import ReplacementModel, attribute, prune
from pipeline.model.architectures import architecture_of
from pipeline.peak_memory import peak_bytes, reset_peak
from pipeline.transcoders.activation import JumpReLU
from pipeline.transcoders.load import load_transcoders
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from tests.support.random_models import tokenizer

LAYERS, FEATURES, WIDTH = 8, 16384, 256

PROMPT = [1, 5, 9, 12, 7, 30]


def replacement_model(transcoders: Transcoders) -> ReplacementModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=40,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().requires_grad_(False)
    return ReplacementModel.assemble("large", model, tokenizer(), architecture_of(config), transcoders)


def small() -> Transcoders:
    layer = TranscoderLayer(
        encoder=torch.randn(64, WIDTH),
        encoder_bias=torch.zeros(64),
        decoder=torch.randn(64, 1, WIDTH),
        decoder_bias=torch.zeros(WIDTH),
        activation=JumpReLU(torch.full((64,), 20.0)),
    )
    return Transcoders((layer,) * LAYERS, "mlp.hook_in", "mlp.hook_out")


def large_trace(folder: Path, lazy_encoder: bool) -> dict[str, int]:
    """Return bytes above those of a small dictionary, and the size of the graph."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    prune(attribute(replacement_model(small()), PROMPT))  # what any dictionary costs is there from now on
    reset_peak(cpu)
    before = peak_bytes(cpu)
    graph = attribute(replacement_model(load_transcoders(str(folder), lazy_encoder)), PROMPT)
    pruned = prune(graph)
    return {
        "took": peak_bytes(cpu) - before,
        "features": len(graph.active_features),
        "edges": len(pruned.weight),
    }
