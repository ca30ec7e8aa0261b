"""JSON that anybody may have written."""

from __future__ import annotations

import json
from typing import Any

JSON_BYTES = 16 << 20
"""Largest configuration in JSON that is read."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is no JSON, or nested so deeply that only an attack can be meant.

    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
