"""Names as viewers spell them: of graphs, dictionaries, nodes and features."""

from __future__ import annotations

import re
from typing import Any

NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
"""Characters that slugs and scans may not hold: they become parts of paths and addresses."""


def slug(prompt_id: str, prompt_key: int, taken: set[str]) -> str:
    """Return a graph's name: the prompt's id in safe letters, with its key if the name is taken."""
    name = sanitised(prompt_id)
    # Without the sign, which no slug should begin with.
    key = f"{prompt_key % 2**64:016x}"
    if not name:
        return f"prompt-{key}"
    return f"{name}-{key}" if name in taken else name


def sanitised(name: str) -> str:
    """Replace what a slug or a scan may not hold; no dots in front, so that no path leads out of a folder."""
    return NOT_A_NAME.sub("-", name).rstrip("-").lstrip("-.")


PAST_VOCABULARIES = 10**9
"""Targets that are no tokens are numbered from here; viewers want a number for each target."""


def node_number(node: dict[str, Any]) -> int:
    """Return the number by which viewers tell nodes of one kind, layer and position apart."""
    match node["kind"]:
        case "feature":
            return node["feature"]
        case "error":
            return -1
    return PAST_VOCABULARIES + node["target_index"] if node["token_id"] is None else node["token_id"]


def node_id(node: dict[str, Any]) -> str:
    """Return the id of a row of `nodes`."""
    layer, number, position = node["layer"], node_number(node), node["position"]
    match node["kind"]:
        case "token":
            return f"E_{number}_{position}"
        case "logit":
            return f"{layer + 1}_{number}_{position}"
    return f"{layer}_{number}_{position}"


def feature_number(layer: int, feature: int) -> int:
    """Return the one number that stands for a layer and a feature: their Cantor pairing."""
    return (layer + feature) * (layer + feature + 1) // 2 + feature
