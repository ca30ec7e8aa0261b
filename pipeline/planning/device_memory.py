"""Total memory of a device, in classes, so that choices made by it are the same on each day and machine.

What is free at the moment would allow more, but depends on neighbours and on what came before; then the same
prompt would be summed in other blocks, and its numbers differ in the last bits.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

_MACHINE = Path("/proc/meminfo")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""A container's limit, in both versions of Linux's control groups."""


def memory_class(device: torch.device) -> int | None:
    """Return the largest power of two of bytes that a device has for this process; None if that is not known.

    Devices of one kind report slightly different totals, which fall into one class. On a CPU the processes
    that share the machine share its memory: one for each group of cores.
    """
    total = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else _share_of_machine()
    return 1 << (total.bit_length() - 1) if total else None


def _share_of_machine() -> int | None:
    found = [value for value in (_installed(), *map(_limit, _LIMITS)) if value is not None]
    neighbours = max(1, (os.cpu_count() or 1) // torch.get_num_threads())
    return min(found) // neighbours if found else None


def _installed() -> int | None:
    if not _MACHINE.exists():
        return None
    line = next(line for line in _MACHINE.read_text().splitlines() if line.startswith("MemTotal"))
    return int(line.split()[1]) * 1024


def _limit(limit: Path) -> int | None:
    # Version 2 says `max` where there is no limit.
    if not limit.exists() or not limit.read_text().strip().isdigit():
        return None
    return int(limit.read_text())
