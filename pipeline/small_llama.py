"""A small Llama trained from nothing: what the trainings of all built-in models share.

AdamW with linear warm-up and a cosine, in a fixed number of steps (not of seconds), so that a seed gives the
same model on any day. Weights end rounded to what float16 holds, which is how they ship, so that everything
measured afterwards is measured on what ships.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def new_llama(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """Build an untrained model from a seed, and leave torch's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


@dataclass(frozen=True, kw_only=True)
class LlamaTraining:
    """Hyperparameters that the trainings of all small Llamas have."""

    learning_rate: float = 3e-3
    """Highest learning rate."""

    warm_up: int = 100
    """Steps until the highest learning rate."""

    final_share: float = 0.02
    """Learning rate at the end, as a share of the highest."""

    weight_decay: float = 0.1
    """Decay of matrices; norms have none."""

    clip: float = 1.0
    """Largest norm of a step's gradient."""

    def optimiser(self, model: LlamaForCausalLM) -> torch.optim.AdamW:
        """Return the optimiser: weights of matrices decay, those of norms do not."""
        groups = [
            {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": self.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98))

    def schedule(self, optimiser: torch.optim.AdamW, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        """Return what sets the learning rate of each of a training's steps."""
        return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.rate(step, steps))

    def rate(self, step: int, steps: int) -> float:
        """Return the share of the highest learning rate at a step, from 0: linear warm-up, then a cosine.

        At most half of all steps are used for the warm-up.
        """
        warm_up = min(self.warm_up, steps // 2)
        if step < warm_up:
            return (step + 1) / warm_up
        progress = (step - warm_up) / max(1, steps - warm_up)
        return self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * progress)) / 2


def round_to_half(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Round all weights to what float16 can hold, keep them in float32, and freeze the model."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    return model.eval().requires_grad_(False)
