"""The columns that name a prompt and a node, spelt once for the tables that hold nodes and edges.

Kinds and their conventions: a feature sits at (layer, position) with its index in the transcoder; an error
at (layer, position) with feature -1; a token at layer -1 and a target (kind `logit`) at layer L, the number
of layers, both with their token id as feature.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.table import column

KIND = pa.dictionary(pa.int8(), pa.string())


def prompt_key() -> pa.Field:
    """The column that ties a row to its prompt."""
    return column(
        "prompt_key",
        pa.int64(),
        "64 bits of a hash over the token ids, and the targets if prompts differ in them; joins the tables",
        "key",
    )


def node_columns(prefix: str = "", node: str = "the node") -> list[pa.Field]:
    """Kind, layer, position and feature of `node`; `prefix` heads the columns' names."""
    layer = f"Layer of {node}; -1 for a token, L (the number of layers) for a logit"
    feature = f"Feature index of {node}; -1 for an error, the token id for a token or a logit"
    return [
        column(f"{prefix}kind", KIND, f"What {node} is: feature, error, token or logit", "name"),
        column(f"{prefix}layer", pa.int16(), layer, "index"),
        column(f"{prefix}position", pa.int32(), f"Position of {node} in the prompt, from 0", "index"),
        column(f"{prefix}feature", pa.int32(), feature, "index"),
    ]
