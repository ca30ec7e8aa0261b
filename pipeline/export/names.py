"""Names as viewers spell them: of graphs, dictionaries, nodes and features."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from xxhash import xxh3_64_hexdigest

from pipeline.errors import ConfigurationError

NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
"""Characters that slugs and scans may not hold: they become parts of paths and addresses."""


LONGEST = 100
"""Most characters of a name that are taken from an id: file systems take 255 bytes with all that follows."""


def plain_name(prompt_id: str) -> str | None:
    """Return a prompt's id if it is a name as it stands; None if it would have to be changed."""
    return prompt_id if prompt_id and prompt_id == sanitised(prompt_id)[:LONGEST] else None


def key_name(prompt_id: str, prompt_key: int) -> str:
    """Return a name that a prompt shares with no other: its id, as far as a name can hold it, and its key."""
    return f"{sanitised(prompt_id)[:LONGEST] or 'prompt'}-{hexadecimal(prompt_key)}"


def hexadecimal(key: int) -> str:
    """Write the key of a prompt or of a run."""
    return f"{key % 2**64:016x}"


def identity(prompt: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a graph's `info` that tell it from all others, from its row of `graphs`."""
    return {
        "prompt_id": prompt["id"],
        "prompt_key": hexadecimal(prompt["prompt_key"]),
        "run_key": hexadecimal(prompt["run_key"]),
    }


def scan_name(transcoders: str) -> str:
    """Return the name of a dictionary, for a folder and for viewers."""
    name = sanitised(transcoders) or "transcoders"
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{xxh3_64_hexdigest(transcoders.encode('utf-8', 'surrogatepass'))}"


def checked_scan(scan: str) -> str:
    """Return the name that a user gave a dictionary, if viewers take it.

    Raises:
        ConfigurationError: it is too long, or has characters that they do not take.

    """
    if scan and scan == sanitised(scan)[:LONGEST]:
        return scan
    raise ConfigurationError(
        f"scan is {scan!r:.200}, but viewers take at most {LONGEST} letters, digits, `_`, `-` and `.`, none "
        f"of the last two in front: give {sanitised(scan)[:LONGEST] or 'gemma-2-2b'!r}, say."
    )


def public_name(described: Mapping[str, Any]) -> str:
    """Return the name of a sweep's model or dictionary for strangers: of a folder here, not where it lies."""
    name = described.get("name", "")
    # Folders are known by the hash of their content.
    return PurePath(name).name if "content" in described else name


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
