"""Peak memory of a piece of work: the GPUs' where there are any, else the process's."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak(*devices: torch.device) -> None:
    """Start measuring: forget the high-water mark so far."""
    for gpu in _gpus(devices):
        torch.cuda.reset_peak_memory_stats(gpu)
    if not _gpus(devices):
        # Linux: the resident set's high-water mark back to what is in use; containers may forbid it.
        with suppress(OSError):
            _CLEAR.write_text("5")


def bytes_in_use(*devices: torch.device) -> int:
    """Return the memory in use now: the GPUs' together, or without any the process's."""
    if gpus := _gpus(devices):
        return sum(map(torch.cuda.memory_allocated, gpus))
    return _status("VmRSS") if _STATUS.exists() else peak_bytes()


def release_free_memory() -> None:
    """Give memory that the process holds but does not use back to the system, where it can be asked for.

    Without that, work that fits into what earlier work left behind seems to take nothing.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def peak_bytes(*devices: torch.device) -> int:
    """Return the most memory in use since the last reset; without Linux's /proc, since the start."""
    if gpus := _gpus(devices):
        return sum(map(torch.cuda.max_memory_allocated, gpus))
    if _STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _gpus(devices: tuple[torch.device, ...]) -> list[torch.device]:
    return [device for device in devices if device.type == "cuda"]


def _status(entry: str) -> int:
    """Return the bytes of one entry of Linux's account of this process."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) * 1024
