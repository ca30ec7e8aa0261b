"""The memory that loading a model takes, to be measured in a process of its own."""

from __future__ import annotations

import torch
from transformers import AutoConfig

from pipeline.model.architectures import architecture_of
from pipeline.model.layout import device_map
from pipeline.model.loading import load_model, without_weights
from pipeline.peak_memory import bytes_in_use, peak_bytes, reset_peak


def loading_bytes(folder: str, device: str) -> int:
    """Return the most memory of the host that loading a model in float32 onto a device takes."""
    config = AutoConfig.from_pretrained(folder)
    empty = without_weights(config, torch.float32, trust_remote_code=False)
    stack = empty.get_submodule(architecture_of(config).layers)
    home = torch.device(device)
    devices = device_map(empty, stack, home, [home] * config.num_hidden_layers)
    reset_peak()
    before = bytes_in_use()
    load_model(folder, config, torch.float32, devices)
    return peak_bytes() - before
