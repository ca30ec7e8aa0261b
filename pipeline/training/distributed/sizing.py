"""The sizes of a training from its file and the model's configuration: no weight is read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import psutil
import torch

from pipeline.errors import ConfigurationError
from pipeline.model import architecture_of, language_model, whole_config, without_weights
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.claim import TrainingUnit
from pipeline.training.planning import Cost, DictionaryShape, Gpu, TrainedModel, cost_of, layer_groups

PROCESS_BYTES = 700e6
"""Of a process with torch and transformers, before it holds anything."""

REACHED = 0.6
"""Share of the rate of plain products that a training is taken to reach: an assumption."""

RATE_SECONDS = 0.3
"""Time for which plain products are measured."""


@dataclass(frozen=True)
class TrainingSizes:
    """A training's dictionary, its model, and the machine that is planned for."""

    config: DictionaryConfig
    shape: DictionaryShape
    model: TrainedModel

    def cost(self, gpu: Gpu) -> Cost:
        """Plan it (see `cost_of`).

        Raises:
            ConfigurationError: it cannot fit, with the sizes that would.

        """
        config = self.config
        return cost_of(
            self.shape,
            self.model,
            config.tokens,
            gpu,
            rows=config.batch_size,
            buffer_rows=config.buffer,
            gpus=config.shards if config.kind == "clt" else None,
            groups=config.groups,
        )

    def units(self, cost: Cost) -> tuple[TrainingUnit, ...]:
        """Cut the layers into units."""
        if self.config.kind == "clt":
            return (TrainingUnit(first=0, end=self.shape.layers, members=self.config.shards),)
        cut = layer_groups(self.shape.layers, len(cost.groups))
        return tuple(TrainingUnit(first=first, end=first + layers) for first, layers in cut)


def sizes_of(config: DictionaryConfig) -> TrainingSizes:
    """Return a training's sizes.

    Raises:
        ConfigurationError: the model does not have the layers.
        ModelError: the model's configuration cannot be read, or is of an unknown architecture.

    """
    described = whole_config(config.model, config.trust_remote_code)
    model = language_model(without_weights(described, torch.float32, config.trust_remote_code))
    layers = model.get_submodule(architecture_of(model.config).layers)
    trained = config.layers or len(layers)
    if trained > len(layers):
        raise ConfigurationError(f"layers is {trained}, but {config.model} has {len(layers)}: leave it out.")
    shape = DictionaryShape(
        config.kind, trained, model.config.hidden_size, config.features, config.cross_layer
    )
    element = torch.finfo(getattr(torch, config.model_dtype)).bits // 8
    described_model = TrainedModel(
        parameters=sum(parameter.numel() for parameter in layers.parameters()),
        bytes=element * sum(parameter.numel() for parameter in model.parameters()),
        layers=len(layers),
    )
    return TrainingSizes(config, shape, described_model)


def machine_here() -> Gpu:
    """Return this machine's GPU, or without one its memory, with a share of the rate of its products."""
    has_gpu = torch.cuda.is_available()
    total = torch.cuda.get_device_properties(0).total_memory if has_gpu else psutil.virtual_memory().total
    return Gpu(bytes=total, flops=REACHED * matrix_rate("cuda" if has_gpu else "cpu"))


@cache
def matrix_rate(device: str) -> float:
    """Measure the rate of float32 products of large matrices, in FLOPs a second."""
    side = 1024 if device == "cpu" else 8192
    one = torch.ones(side, side, device=device)
    one @ one  # wakes the device up
    products, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < RATE_SECONDS:
        float((one @ one)[0, 0])  # waits for it
        products += 1
    return 2 * side**3 * products / seconds
