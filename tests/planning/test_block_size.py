from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline import ReplacementModel, attribute
from pipeline.planning import BlockPlanner, ModelSizes, PromptSizes, Rules, block_size, prompt_bytes
from pipeline.planning.block_size import (
    CUDA_BLOCK_PAIRS,
    FIRST_RATE,
    LEAST_BLOCK_PAIRS,
    LEAST_SHARE,
    USABLE,
    fitting_block_pairs,
    preferred_block_pairs,
)
from pipeline.planning.free_memory import free_bytes
from tests.random_models import Recipe, random_model

CPU = torch.device("cpu")
GEMMA = ModelSizes(26, 2304, 8, 2048, 1024, 16_384, 1.0, False, 1, 4)
PROMPT = PromptSizes(64, 26 * 63 * 60, 2000)


def needed(pairs: int) -> float:
    """Return the free bytes with which blocks of so many pairs just fit."""
    takes = prompt_bytes(GEMMA, PROMPT, Rules(), pairs)
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
    assert fitting_block_pairs(GEMMA, PROMPT, Rules(), CUDA_BLOCK_PAIRS, free) == expected


def test_where_a_prompt_never_fits_blocks_do_not_shrink_to_nothing() -> None:
    hopeless = PromptSizes(64, 1e7, 1e7)
    assert fitting_block_pairs(GEMMA, hopeless, Rules(), 4096, 16e9) == 4096


@pytest.fixture(scope="module")
def model() -> ReplacementModel:
    return random_model(Recipe())


@pytest.fixture
def make(model: ReplacementModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BlockPlanner]:
    def planner(free: float | None) -> BlockPlanner:
        monkeypatch.setattr(block_size, "free_bytes", lambda _: free)
        return BlockPlanner(ModelSizes.of(model), Rules(), CPU)

    return planner


@pytest.mark.parametrize("free", [None, 1e15])
def test_with_room_enough_the_fastest_block_is_taken(make: Callable[..., Any], free: float | None) -> None:
    assert make(free).choose(20) == preferred_block_pairs(CPU)


def test_without_room_the_smallest_block_is_taken(make: Callable[..., Any]) -> None:
    assert make(0).choose(20) <= LEAST_BLOCK_PAIRS


def test_features_are_expected_at_the_highest_rate_seen(
    make: Callable[..., Any], model: ReplacementModel
) -> None:
    planner = make(None)
    assert planner.rate == FIRST_RATE * model.n_layers
    graphs = [attribute(model, prompt) for prompt in ([1, 5, 9, 3], [1, 8])]
    rates = [len(graph.active_features) / (graph.n_positions - 1) for graph in graphs]
    for graph in graphs:
        planner.observe(graph)
    assert planner.rate == max(rates)


def test_free_memory_is_some_of_the_machines() -> None:
    free = free_bytes(CPU)
    assert free is None or 0 <= free < 1 << 50


@pytest.mark.gpu
def test_free_memory_of_a_gpu_counts_what_the_allocator_holds() -> None:
    device = torch.device("cuda")
    before = free_bytes(device)
    torch.empty(64 << 20, dtype=torch.uint8, device=device)
    assert free_bytes(device) == pytest.approx(before, abs=4 << 20)
