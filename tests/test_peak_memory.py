from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline import peak_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "clear", ["/proc/version", "/proc/self/nothing", "/"], ids=["read-only", "absent", "folder"]
)
def test_where_the_peak_cannot_be_reset_it_is_still_told(clear: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory, "_CLEAR", Path(clear))
    peak_memory.reset_peak(CPU)
    assert peak_memory.peak_bytes(CPU) > 50 << 20
