"""The columns that name a prompt and a node, spelt once for the tables that hold nodes and edges.

A node's kind says which columns name it; the others are null:

| kind | layer | position | feature | token_id | target_index |
| --- | --- | --- | --- | --- | --- |
| feature | its layer | its position | index in the transcoder | | |
| error | its layer | its position | | | |
| token | | its position | | vocabulary id | |
| logit (a target) | number of layers | the last | | of a token | index in `graphs.targets` |
| logit (of a feature) | its layer | its position | index in the transcoder | | index in `graphs.targets` |
"""

from __future__ import annotations

import pyarrow as pa

from schemas.table import column

KIND = pa.dictionary(pa.int8(), pa.string())

NODE_COLUMNS = ("kind", "layer", "position", "feature", "token_id")
"""Columns that name a node within its prompt; targets that are no tokens also need their index."""


def prompt_key() -> pa.Field:
    """The column that ties a row to its prompt."""
    return column(
        "prompt_key",
        pa.int64(),
        "64 bits of a hash over the token ids, and the targets if prompts differ in them (of earlier "
        "positions of a text over its hash and the position); joins the tables",
        "key",
    )


def prompt_id() -> pa.Field:
    """The column to filter by in the tables that have many rows a prompt."""
    return column("id", pa.string(), "The prompt's name, as in `graphs`", "name")


def position_from_end(of: str) -> pa.Field:
    """The position counted backwards, to compare prompts of different lengths."""
    meaning = f"Tokens between {of} and the end of the prompt: 0 at the last position"
    return column("position_from_end", pa.int32(), meaning, "tokens")


def node_columns(prefix: str = "", node: str = "the node") -> list[pa.Field]:
    """Kind, layer, position, feature and token of `node`; `prefix` heads the columns' names."""
    kind = f"Kind of {node}: feature, error, token or logit (a target, whatever is explained)"
    layer = f"Layer of {node}; the number of layers for a target read at the output; null for a token"
    feature = f"Feature index of {node} in its layer's transcoder; null for all but features"
    token_id = f"Vocabulary id of {node}, a token or a target that is one; null for all others"
    return [
        column(f"{prefix}kind", KIND, kind, "name"),
        column(f"{prefix}layer", pa.int16(), layer, "index", nullable=True),
        column(f"{prefix}position", pa.int32(), f"Position of {node} in the prompt, from 0", "index"),
        column(f"{prefix}feature", pa.int32(), feature, "index", nullable=True),
        column(f"{prefix}token_id", pa.int32(), token_id, "token id", nullable=True),
    ]


def target_index(node: str) -> pa.Field:
    """The column that ties a target's node to what the graph explains."""
    meaning = f"Index of {node} in `targets` of `graphs`, from 0; null for all other nodes"
    return column("target_index", pa.int16(), meaning, "index", nullable=True)
