from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import ReplacementModel
from pipeline.attribution import AttributionOptions
from pipeline.attribution.row_blocks import CUDA_BLOCK_PAIRS, preferred_block_pairs
from pipeline.planning import block_size
from pipeline.planning.block_size import (
    LEAST_BLOCK_PAIRS,
    LEAST_SHARE,
    USABLE,
    BlockPlanner,
    fitting_block_pairs,
)
from pipeline.planning.device_memory import memory_class
from pipeline.planning.memory import prompt_bytes
from pipeline.planning.sizes import ModelSizes, PromptSizes
from tests.support.random_models import Recipe, random_model

CPU = torch.device("cpu")
GEMMA = ModelSizes(26, 2304, 8, 2048, 1024, 16_384, 1.0, False, 1, 4)
PROMPT = PromptSizes(64, 26 * 63 * 60, 2000)


def needed(pairs: int) -> float:
    """Return the free bytes with which blocks of so many pairs just fit."""
    takes = prompt_bytes(GEMMA, PROMPT, AttributionOptions(), pairs)
    return min((takes.held + takes.edges + takes.block) / USABLE, takes.block / LEAST_SHARE)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (1e15, CUDA_BLOCK_PAIRS),
        (needed(CUDA_BLOCK_PAIRS) + 2, CUDA_BLOCK_PAIRS),
        (needed(CUDA_BLOCK_PAIRS) - 2, CUDA_BLOCK_PAIRS // 2),
        (needed(8192) + 2, 8192),
        (0, LEAST_BLOCK_PAIRS),
    ],
)
def test_the_largest_block_that_fits_is_taken(free: float, expected: int) -> None:
    assert fitting_block_pairs(GEMMA, PROMPT, AttributionOptions(), CUDA_BLOCK_PAIRS, free) == expected


def test_where_a_prompt_never_fits_blocks_do_not_shrink_to_nothing() -> None:
    hopeless = PromptSizes(64, 1e7, 1e7)
    assert fitting_block_pairs(GEMMA, hopeless, AttributionOptions(), 4096, 16e9) == 4096


@pytest.fixture(scope="module")
def model() -> ReplacementModel:
    return random_model(Recipe())


@pytest.fixture
def make(model: ReplacementModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BlockPlanner]:
    def planner(memory: int | None) -> BlockPlanner:
        monkeypatch.setattr(block_size, "memory_class", lambda _: memory)
        return BlockPlanner(ModelSizes.of(model), AttributionOptions(), CPU)

    return planner


@pytest.mark.parametrize("memory", [None, 1 << 50])
def test_with_room_enough_the_fastest_block_is_taken(make: Callable[..., Any], memory: int | None) -> None:
    assert make(memory).choose(20) == preferred_block_pairs(CPU)


def test_without_room_the_smallest_block_is_taken(make: Callable[..., Any]) -> None:
    assert make(0).choose(20) <= LEAST_BLOCK_PAIRS


def test_neither_what_is_free_nor_what_came_before_changes_the_block(
    model: ReplacementModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = "MemTotal: 1048576 kB\nMemFree: {0} kB\nMemAvailable: {0} kB\n"
    chosen = []
    for free in (900_000, 1_000):
        monkeypatch.setattr(Path, "read_text", lambda *_, free=free: machine.format(free))
        planner = BlockPlanner(GEMMA, AttributionOptions(), CPU)
        chosen.append([planner.choose(positions) for positions in (400, 20, 400, 20)])
    assert chosen[0] == chosen[1] == [*chosen[0][:2], *chosen[0][:2]]
    assert chosen[0][0] < chosen[0][1]


def test_replicas_that_share_a_device_plan_with_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_size, "preferred_block_pairs", lambda _: CUDA_BLOCK_PAIRS)
    monkeypatch.setattr(block_size, "memory_class", lambda _: 1 << 36)
    whole, quarter = (
        BlockPlanner(GEMMA, AttributionOptions(), CPU, share).choose(64) for share in (1.0, 0.25)
    )
    monkeypatch.setattr(block_size, "memory_class", lambda _: 1 << 34)
    assert quarter == BlockPlanner(GEMMA, AttributionOptions(), CPU).choose(64) < whole


def test_a_class_is_a_power_of_two_of_the_machines_memory() -> None:
    memory = memory_class(CPU)
    assert memory is None or (memory.bit_count() == 1 and memory < 1 << 50)


@pytest.mark.gpu
def test_what_a_gpu_holds_does_not_change_its_class() -> None:
    device = torch.device("cuda")
    before = memory_class(device)
    held = torch.empty(torch.cuda.mem_get_info(device)[1] // 2, dtype=torch.uint8, device=device)
    assert before <= 2 * held.numel() + 1
    assert memory_class(device) == before
