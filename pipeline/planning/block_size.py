"""Number of (row, position) pairs that go down together: as many as pay, or as fit the device's memory.

What pays is said in `pipeline.attribution.row_blocks`. Where memory is short blocks are halved until a
prompt fits. What a prompt takes depends on how many features are active, which is not known before it has
been traced: a guess stands for it, and where it is wrong the engine halves again.

The size of a block decides in which order numbers are summed, and so their last bits (4.8e-7 was seen). So it
depends on nothing but the prompt's length, the class of the device's memory and the replica's share of it:
not on what happens to be free, nor on which prompts the worker had before.
"""

from __future__ import annotations

import torch

from pipeline.attribution import AttributionOptions, preferred_block_pairs
from pipeline.planning.device_memory import memory_class
from pipeline.planning.memory import prompt_bytes
from pipeline.planning.sizes import ModelSizes, PromptSizes

LEAST_BLOCK_PAIRS = 128
"""Below this, what lacks memory is not the block."""

EXPECTED_RATE = 64.0
"""Active features per token and layer that are expected of a prompt."""

ROOM = 0.5
"""Share of the device's memory class that is left beside model and dictionary."""

USABLE = 0.9
"""Share of the free memory that is planned with; the rest is for what allocators waste."""

LEAST_SHARE = 0.1
"""Share of the free memory that a block may take in any case: where the rest of a prompt does not fit, or is
guessed too large, tiny blocks would not help and be slow."""


def fitting_block_pairs(
    model: ModelSizes, prompt: PromptSizes, options: AttributionOptions, preferred: int, free: float
) -> int:
    """Return the preferred block size, halved until it fits into what a prompt leaves of `free` bytes."""
    pairs = preferred
    while pairs > LEAST_BLOCK_PAIRS:
        takes = prompt_bytes(model, prompt, options, pairs)
        if takes.block <= max(USABLE * free - takes.held - takes.edges, LEAST_SHARE * free):
            break
        pairs //= 2
    return pairs


class BlockPlanner:
    """Planner of each prompt's block size."""

    def __init__(
        self, model: ModelSizes, options: AttributionOptions, device: torch.device, share: float = 1.0
    ) -> None:
        """Take what decides; `share` is the part of the device that is this process's."""
        self._model = model
        self._options = options
        self._preferred = preferred_block_pairs(device)
        memory = memory_class(device)
        self._free = None if memory is None else ROOM * memory * share

    def choose(self, positions: int) -> int:
        """Return the block size, in (row, position) pairs, for a prompt of `positions` tokens."""
        if self._free is None:
            return self._preferred
        rate = self._model.active or EXPECTED_RATE
        active = rate * self._model.layers * max(1, positions - self._model.zero_positions)
        prompt = PromptSizes(positions, active, self._options.max_rows(active))
        return fitting_block_pairs(self._model, prompt, self._options, self._preferred, self._free)
