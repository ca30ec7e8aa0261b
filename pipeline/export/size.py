"""Size of an attribution-graph document, and the cut that brings it below a limit.

What is left out are links of the lowest influence on the targets, and with them the features and errors that
then hang on nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from pipeline.errors import ConfigurationError

MEGABYTE = 2**20

NEURONPEDIA_TAKES = 100 * MEGABYTE
"""Largest file that may be uploaded there."""

ALWAYS = ("embedding", "logit")
"""Types of nodes that stay, whatever they hang on."""

MARGIN = 64
"""Bytes for the figures of what was left out, which are longer than those of nothing."""


def encoded(document: Mapping[str, Any]) -> bytes:
    """Return a document as it is written to a file."""
    # NaN is no JSON: a browser would refuse the whole file.
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Halves of characters, which no file can hold, are written as JSON's escapes.
    return text.encode("utf-8", "backslashreplace")


def cut(document: dict[str, Any], influences: Float[np.ndarray, " links"], most_bytes: int) -> dict[str, Any]:
    """Return a document of at most so many bytes: the strongest links that it has room for, and their nodes.

    Args:
        document: of one graph.
        influences: of its links, in their order.
        most_bytes: limit.

    Raises:
        ConfigurationError: there is no room for a single link.

    """
    links, view = document["links"], document["qParams"]
    unseen = {
        node["node_id"]: len(encoded(node)) + 1
        for node in document["nodes"]
        if node["feature_type"] not in ALWAYS
    }
    kept: set[int] = set()
    size = len(encoded(_part(document, kept, influences))) + len(encoded(view)) + MARGIN
    for index in np.argsort(-influences, kind="stable").tolist():
        link = links[index]
        size += len(encoded(link)) + 1 + unseen.pop(link["source"], 0) + unseen.pop(link["target"], 0)
        if size > most_bytes:
            break
        kept.add(index)
    if not kept:
        raise ConfigurationError(
            f"{document['metadata']['slug']} has no room for a single link in {most_bytes:,} bytes: allow "
            "more of them."
        )
    return _part(document, kept, influences)


def _part(
    document: dict[str, Any], kept: set[int], influences: Float[np.ndarray, " links"]
) -> dict[str, Any]:
    """Return a document with some of its links, and the nodes that these or a reader need."""
    links = [link for index, link in enumerate(document["links"]) if index in kept]
    ends = {end for link in links for end in (link["source"], link["target"])}
    nodes = [n for n in document["nodes"] if n["feature_type"] in ALWAYS or n["node_id"] in ends]
    whole = influences.astype(np.float64)
    share = float(whole[sorted(kept)].sum() / whole.sum())
    left_out = {"links_left_out": len(document["links"]) - len(links), "influence_left_out": 1 - share}
    metadata, view = document["metadata"], document["qParams"]
    return {
        **document,
        "metadata": metadata | {"info": metadata["info"] | left_out},
        "qParams": _shown(view, {node["node_id"] for node in nodes}),
        "nodes": nodes,
        "links": links,
    }


def _shown(view: dict[str, Any], there: set[str]) -> dict[str, Any]:
    """Return what a viewer shows first, of the nodes that are left."""
    groups = [[name, *(id for id in ids if id in there)] for name, *ids in view["supernodes"]]
    groups = [group for group in groups if len(group) > 2]
    return view | {"pinnedIds": [id for _, *ids in groups for id in ids], "supernodes": groups}
