"""The four columns that name a node, spelt once for the tables that hold nodes and edges.

Kinds and their conventions: a feature sits at (layer, position) with its index in the dictionary; an
error at (layer, position) with feature -1; a token at layer -1 and a target (kind `logit`) at layer L,
the number of layers, both with their token id as feature.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.table import column

KIND = pa.dictionary(pa.int8(), pa.string())


def prompt_key() -> pa.Field:
    """The column that ties a row to its prompt."""
    return column("prompt_key", pa.int64(), "64 bits of a hash over the token ids; joins the tables", "key")


def place_columns(prefix: str = "", of: str = "") -> list[pa.Field]:
    """Layer, position and feature of a node; `prefix` heads the names, `of` ends the meanings."""
    return [
        column(
            f"{prefix}layer", pa.int16(), f"Layer{of}; -1 for a token, L (all layers) for a logit", "index"
        ),
        column(f"{prefix}position", pa.int32(), f"Position in the prompt{of}; 0 is the first token", "index"),
        column(
            f"{prefix}feature",
            pa.int32(),
            f"Feature index in the transcoder{of}; -1 for an error, the token id for a token or a logit",
            "index",
        ),
    ]


def node_columns(prefix: str = "", of: str = "") -> list[pa.Field]:
    """Kind, layer, position and feature of a node."""
    kind = column(
        f"{prefix}kind", KIND, f"feature, error, token or logit: what stands at the node{of}", "name"
    )
    return [kind, *place_columns(prefix, of)]
