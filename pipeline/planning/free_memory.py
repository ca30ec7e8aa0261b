"""How much memory a device has left for a prompt."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_MACHINE = Path("/proc/meminfo")
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
"""A container's limit and use, in both versions of Linux's control groups."""


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes that this process may still take on a device; None where that is not known.

    On a CPU the processes that share the machine share its memory: one for each group of cores.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    left = [value for value in (_available(), *(_below(*limit) for limit in _LIMITS)) if value is not None]
    neighbours = max(1, (os.cpu_count() or 1) // torch.get_num_threads())
    return min(left) // neighbours if left else None


def _available() -> int | None:
    if not _MACHINE.exists():
        return None
    line = next(line for line in _MACHINE.read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def _below(limit: Path, used: Path) -> int | None:
    if not limit.exists() or not used.exists() or not limit.read_text().strip().isdigit():
        return None
    return max(0, int(limit.read_text()) - int(used.read_text()))
