"""A real model of two layers with real transcoders, made from a seed in a second, and sweeps with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.sweep.config import SweepConfig

WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", *(f"w{i}" for i in range(28))]
LAYERS, WIDTH, FEATURES, CONTEXT = 2, 16, 24, 12


def make_model(folder: Path, seed: int = 0, layers: int = LAYERS) -> str:
    """Save a Llama with a word-level tokenizer."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    return str(folder)


def make_transcoders(
    folder: Path,
    layers: int = LAYERS,
    width: int = WIDTH,
    input_hook: str = "mlp.hook_in",
    scale: float = 0.3,
) -> str:
    """Save a per-layer dictionary in circuit-tracer's format."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(1)
    for layer in range(layers):
        tensors = {
            "W_enc": torch.randn(FEATURES, width, generator=random) * scale,
            "W_dec": torch.randn(FEATURES, width, generator=random) * scale,
            "b_enc": torch.randn(FEATURES, generator=random) * 0.1,
            "b_dec": torch.zeros(width),
        }
        save_file(tensors, folder / f"layer_{layer}.safetensors")
    config = {
        "model_kind": "transcoder_set",
        "model_name": "tiny",
        "scan": "tiny",
        "feature_input_hook": input_hook,
        "feature_output_hook": "mlp.hook_out",
        "activation": "relu",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return str(folder)


def sentence(number: int, length: int = 5) -> str:
    """Return a text that no other number gives."""
    digits = [(number // 28**i) % 28 for i in range(length)]
    return " ".join(f"w{digit}" for digit in digits)


def tiny_config(files: Path, rows: list[dict[str, Any]], folder: Path, **changes: Any) -> SweepConfig:
    """Return a sweep over `rows` with the model and the dictionary in `files`, into `folder`."""
    source = folder / "prompts.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows))
    values = {
        "model": str(files / "model"),
        "transcoders": str(files / "transcoders"),
        "prompts": {"source": str(source), **changes.pop("prompts", {})},
        "output": str(folder / "output"),
        "shard_size": 4,
        "workers": {"replicas": 1, "cores_per_replica": 1},  # a second thread rounds otherwise
    }
    return SweepConfig.model_validate(values | changes)
