"""Quantised checkpoints: multiplied out, and said, or refused with the reason."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline import ReplacementModel
from pipeline.errors import ModelError
from pipeline.hub import pin
from pipeline.sweep.memory import bytes_of_worker
from tests.support.tiny_model import make_model

BLOCK = 128


def _configure(folder: Path, **settings: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": settings}))


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A model in FP8 as DeepSeek's and Qwen's are, and its weights multiplied out by hand."""
    folder = Path(make_model(tmp_path / "model"))
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(
        folder, hidden_size=BLOCK, intermediate_size=2 * BLOCK, head_dim=BLOCK // 2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    stored, meant = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        stored[name] = meant[name] = weight
        if name.endswith("proj.weight"):
            blocks = weight.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK))
            scale = blocks.abs().amax((1, 3)) / 448
            quantised = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
            stored[name] = quantised.reshape(weight.shape)
            stored[f"{name}_scale_inv"] = scale
            meant[name] = (quantised.float() * scale[:, None, :, None]).reshape(weight.shape)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    _configure(folder, quant_method="fp8", weight_block_size=[BLOCK, BLOCK], activation_scheme="dynamic")
    return folder, meant


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fp8_is_multiplied_out_and_said(model, dtype, caplog):
    folder, meant = model
    with caplog.at_level(logging.WARNING, "pipeline"):
        loaded = ReplacementModel.from_pretrained(str(folder), "neurons", device="cpu", dtype=dtype)
    assert any("fp8" in record.getMessage() for record in caplog.records)
    found = loaded.model.state_dict()
    assert all(torch.equal(found[name], weight.to(dtype)) for name, weight in meant.items())


def test_the_memory_of_a_worker_is_that_of_the_weights_multiplied_out(model):
    folder = pin(str(model[0]), "model")
    size = (model[0] / "model.safetensors").stat().st_size
    assert bytes_of_worker(folder, pin("neurons", "transcoders")) == int((1 << 30) + 2.5 * 2 * size)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_other_kinds_are_refused_by_name(tmp_path, method):
    folder = Path(make_model(tmp_path / "model"))
    _configure(folder, quant_method=method, bits=4, load_in_4bit=True)
    with pytest.raises(ModelError, match=rf"quantised \({method}\)"):
        ReplacementModel.from_pretrained(str(folder), "neurons", device="cpu")
