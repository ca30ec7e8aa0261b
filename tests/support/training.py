"""Dictionaries of seconds: planted rows, tiny configurations, processes that are threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.training import DictionaryConfig, FeatureShard, LayerGroup
from pipeline.training.data import LayerRows, Rows
from pipeline.training.recipe import Normalisation, NormalisationSums
from tests.support.tiny_model import sentence

Result = TypeVar("Result")


def dictionary(**changes: Any) -> DictionaryConfig:
    """Return a configuration of a training of seconds."""
    values = {
        "model": "planted",
        "kind": "plt",
        "features": 64,
        "k": 4,
        "text": "text.txt",
        "tokens": changes.get("batch", 128) * changes.pop("steps", 40),
        "batch": 128,
        "output": "output",
        "dtype": "float32",
    }
    return DictionaryConfig.model_validate(values | changes)


def text_file(folder: Path, sentences: int = 300) -> str:
    """Write sentences of the tiny model's words."""
    lines = (sentence(17 * number + number // 3, 4 + number % 6) for number in range(sentences))
    path = folder / "text.txt"
    path.write_text("\n".join(lines))
    return str(path)


class PlantedRows:
    """Sparse sums of random directions, and a linear image of them."""

    def __init__(
        self, directions: int, width: int, active: float, layers: int = 1, mean: float = 0.0, seed: int = 0
    ) -> None:
        self.random = torch.Generator().manual_seed(seed)
        drawn = torch.randn(directions, width, generator=self.random)
        self.directions = drawn / drawn.norm(dim=1, keepdim=True)
        self.images = [torch.randn(width, width, generator=self.random) / width**0.5 for _ in range(layers)]
        self.mean = torch.randn(width, generator=self.random)
        self.mean *= mean / self.mean.norm()
        self.share = active / directions
        self.active = active

    def rows(self, count: int) -> Rows:
        """Draw rows; the same for all layers, with other outputs."""
        shape = (count, len(self.directions))
        present = torch.rand(shape, generator=self.random) < self.share
        sizes = present * (0.5 + torch.rand(shape, generator=self.random))
        signal = sizes @ self.directions
        scale = signal.std(0).norm()
        inputs = signal + self.mean * scale
        return {layer: LayerRows(inputs, signal @ image) for layer, image in enumerate(self.images)}

    def normalisations(self, rows: Rows) -> dict[int, Normalisation]:
        """Measure scales and means."""
        found = {}
        for layer, of_layer in rows.items():
            sums = NormalisationSums(of_layer.inputs.shape[1])
            sums.add(of_layer.inputs, of_layer.outputs)
            found[layer] = sums.normalisation(layer)
        return found


def begin(config: DictionaryConfig, planted: PlantedRows, **options: Any) -> tuple[LayerGroup, Rows]:
    """Return a group on planted rows, and the rows, of which each step takes the next."""
    rows = planted.rows(config.batch_size * config.n_steps)
    group = LayerGroup.begin(config, len(rows), planted.normalisations(rows), **options)
    return group, rows


def batch_of(rows: Rows, config: DictionaryConfig, step: int) -> Rows:
    """Return the rows of a step."""
    part = slice(step * config.batch_size, (step + 1) * config.batch_size)
    return {layer: of_layer[part] for layer, of_layer in rows.items()}


def train(group: LayerGroup, rows: Rows, until: int | None = None) -> list[float]:
    """Train, and return the mean FVU of each step."""
    losses = []
    while group.step_number < (until or group.schedule.steps):
        report = group.step(batch_of(rows, group.config, group.step_number))
        losses.append(sum(layer.fvu for layer in report.layers) / len(report.layers))
    return losses


def in_threads(size: int, work: Callable[[FeatureShard], Result]) -> list[Result]:
    """Run a gang of threads that sum tensors with each other."""
    barrier, given = Barrier(size), [None] * size

    def shard_of(rank: int) -> FeatureShard:
        def all_reduce(tensor: Tensor) -> None:
            given[rank] = tensor.clone()
            barrier.wait()
            total = sum(given[1:], given[0].clone())
            barrier.wait()
            tensor.copy_(total)

        return FeatureShard(rank, size, all_reduce)

    def run(rank: int) -> Result:
        torch.set_num_threads(1)
        try:
            return work(shard_of(rank))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
