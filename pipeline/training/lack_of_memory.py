"""An error that says that memory is used up, on a GPU or on the host."""

from __future__ import annotations

import torch


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell: on a CPU, torch has no class of its own for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
