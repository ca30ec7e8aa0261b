"""Prompts of which each shard has a bad one."""

from __future__ import annotations

from typing import Any

from tests.support.sweeps import prompts


def mixed_prompts(shards: int) -> list[dict[str, Any]]:
    """Two prompts and one without tokens for each shard, so that every table gets a file."""
    good = iter(prompts(2 * shards))
    bad = [
        {"id": f"bad{number}", "prompt": f"nonsense{number}", "family": "none"} for number in range(shards)
    ]
    return [row for number in range(shards) for row in (next(good), bad[number], next(good))]
