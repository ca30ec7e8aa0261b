"""A small Llama trained from nothing: what the trainings of all built-in models share.

AdamW with linear warm-up and a cosine, in a fixed number of steps (not of seconds), so that a seed gives the
same model on any day. Weights end rounded to what float16 holds, which is how they ship, so that everything
measured afterwards is measured on what ships.
"""

from __future__ import annotations

import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def new_llama(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """Build an untrained model from a seed, and leave torch's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def adamw(model: LlamaForCausalLM, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return the optimiser: weights of matrices decay, those of norms do not."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))


def cosine_rate(step: int, steps: int, warm_up: int, final_share: float) -> float:
    """Return the share of the highest learning rate at a step: linear warm-up, then a cosine.

    Args:
        step: the step, from 0.
        steps: steps of the whole training.
        warm_up: steps until the highest rate; at most half of all steps are used for it.
        final_share: rate at the end, as a share of the highest.

    """
    warm_up = min(warm_up, steps // 2)
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return final_share + (1 - final_share) * (1 + math.cos(math.pi * progress)) / 2


def round_to_half(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Round all weights to what float16 can hold, keep them in float32, and freeze the model."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    return model.eval().requires_grad_(False)
