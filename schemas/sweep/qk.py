"""`qk`: why heads look where they find what the strongest edges of a graph carry.

Only if asked for (`attribution.qk`), and only for the heads, queries and keys that bring most influence to
targets. A score before the softmax is split into pairs of a query's component and a key's, and by components
of either alone; the rows of each kind sum to the score, what has no row of its own being one row `other`.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_id, prompt_key
from schemas.table import Table, column

_WORDS = pa.dictionary(pa.int8(), pa.string())


def _component(side: str) -> list[pa.Field]:
    """The columns that name a component of the query or of the key."""
    meaning = (
        f"Component of the {side}: feature, error or token (with layer, position, and feature or token id), "
        "wherever it was written; constant, all that is no node; other, all that have no row; whole, the "
        f"{side} itself"
    )
    return [
        column(f"{side}_kind", _WORDS, meaning, "name"),
        column(
            f"{side}_layer", pa.int16(), "Layer of a feature or an error; else null", "index", nullable=True
        ),
        column(
            f"{side}_position",
            pa.int32(),
            "Position at which a feature, error or token was written; else null",
            "index",
            nullable=True,
        ),
        column(
            f"{side}_feature",
            pa.int32(),
            "Feature index in its layer's transcoder; null for all but features",
            "index",
            nullable=True,
        ),
        column(
            f"{side}_token_id",
            pa.int32(),
            "Vocabulary id of a token; null for all others",
            "token id",
            nullable=True,
        ),
    ]


_QUERY, _KEY = _component("query"), _component("key")
_HEAD = ("head_layer", "head", "query_at", "key_at")

QK = Table(
    name="qk",
    row="a part of the score with which a head looks from one position at another",
    key=("prompt_key", *_HEAD, "part", *(field.name for field in [*_QUERY, *_KEY])),
    byte_stream_split=("score", "contrast", "attention"),
    schema=pa.schema(
        [
            prompt_key(),
            prompt_id(),
            column("head_layer", pa.int16(), "Layer of the head", "index"),
            column("head", pa.int16(), "Head in its layer", "index"),
            column("query_at", pa.int32(), "Position that the head looks from", "index"),
            column("key_at", pa.int32(), "Position that it looks at", "index"),
            column(
                "part",
                _WORDS,
                "Kind of part: `score`, all of it; `pair`, a component of the query with one of the key; "
                "`query` or `key`, a component of one with the whole of the other",
                "name",
            ),
            *_QUERY,
            *_KEY,
            column(
                "score",
                pa.float32(),
                "Part of the score before soft-cap and softmax, scaled as the model scales it",
                "nats",
            ),
            column(
                "contrast",
                pa.float32(),
                "Part of the score less the mean over the other keys that the query sees; null if there are "
                "none",
                "nats",
                nullable=True,
            ),
            column(
                "attention",
                pa.float32(),
                "Attention that the head pays to the key; null for parts of the score",
                "share, 0 to 1",
                nullable=True,
            ),
        ]
    ),
)
