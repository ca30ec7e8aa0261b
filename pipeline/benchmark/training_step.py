"""The rate of a training's step next to that of plain products of its matrices, on one thread.

Done densely, a step of a dictionary is five products of rows with a matrix of width times features: encoder
and decoder, forward and backward, where nobody asks for the gradient of the rows. That is the work;
whatever else a step does (the cut, Adam, sums) is counted as time alone, and whatever it saves by leaving
zeros out as rate. Both are timed in turns, by the CPU's time of this process, which other processes hardly
change.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from pipeline.training import DictionaryConfig, LayerGroup
from pipeline.training.data import LayerRows, Rows
from pipeline.training.recipe import NormalisationSums

WIDTH, FEATURES, K, ROWS = 256, 4096, 32, 4096

TURNS = 5


def step_rate() -> tuple[float, float]:
    """Return FLOPs a second of a training's step, and of plain products of the same matrices."""
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    rows = {0: LayerRows(*(torch.randn(ROWS, WIDTH, generator=random) for _ in range(2)))}
    group = _group(rows)
    inputs, encoder = rows[0].inputs, torch.randn(WIDTH, FEATURES, generator=random)
    products = 2 * ROWS * WIDTH * FEATURES
    work = 5 * products
    group.step(rows)
    rates = [
        (work / _seconds(lambda: group.step(rows)), products / _seconds(lambda: inputs @ encoder))
        for _ in range(TURNS)
    ]
    step, plain = zip(*rates, strict=True)
    return median(step), median(plain)


def _group(rows: Rows) -> LayerGroup:
    """Return one layer in training, without a skip path."""
    config = DictionaryConfig.model_validate(
        {
            "model": "none",
            "kind": "plt",
            "features": FEATURES,
            "k": K,
            "text": "none",
            "tokens": 1_000 * ROWS,
            "batch": ROWS,
            "output": "none",
        }
    )
    sums = NormalisationSums(WIDTH)
    sums.add(rows[0].inputs, rows[0].outputs)
    return LayerGroup.begin(config, 1, {0: sums.normalisation(0)})


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started
