"""Answers on the wire: JSON that every browser reads, and arrays behind a JSON header.

A packed answer is a u32 (little endian) with the bytes of the header, the header (JSON, padded with spaces so
that what follows starts at a multiple of 8), then the arrays that `header.arrays` names, in its order, each
padded to a multiple of 8 bytes: a browser makes views of them and copies nothing. A graph of ten thousand
edges takes an eighth of its JSON.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Any

import numpy as np

ALIGNMENT = 8
"""Bytes at whose multiples arrays start."""

TYPES = {"u1": "u8", "u2": "u16", "u4": "u32", "i4": "i32", "f4": "f32", "f8": "f64"}
"""Types of arrays by numpy's codes."""

SAFE_INTEGER = 2**53
"""Integers from here on lose digits in JavaScript and travel as text: prompt keys do."""

LARGE = re.compile(r"[:,\[]-?\d{16}")
"""Text of JSON that may hold such an integer: then each value is looked at, which takes ten times as long."""


@dataclass(frozen=True)
class Packed:
    """An answer with arrays."""

    header: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def encode(self) -> bytes:
        """Return the answer's bytes."""
        described = [
            {"name": name, "type": TYPES[values.dtype.str[1:]], "length": len(values)}
            for name, values in self.arrays.items()
        ]
        header = json_bytes({**self.header, "arrays": described})
        header += b" " * (-(4 + len(header)) % ALIGNMENT)
        parts = [struct.pack("<I", len(header)), header]
        for values in self.arrays.values():
            data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
            parts += [data, bytes(-len(data) % ALIGNMENT)]
        return b"".join(parts)


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON that JavaScript reads without loss.

    What JSON cannot say becomes null (NaN, infinities) or text (times, integers beyond 2**53); halves of
    characters are written as escapes.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except (ValueError, TypeError):
        text = None  # not finite, or keys that are no text
    if text is None or LARGE.search(text):
        text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    return text.encode()


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -SAFE_INTEGER < value < SAFE_INTEGER else str(value)
        case float():
            return value if isfinite(value) else None
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime() | date():
            return value.isoformat()
        case np.generic():
            return _plain(value.item())
        case bytes():
            return value.hex()
    return str(value)
