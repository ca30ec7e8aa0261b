"""`diff_prompts`, `diff_features`, `diff_edges`, `diff_matches`, `diff_circuits`: how two sweeps differ.

`circuit-sweep diff A B --output FOLDER` writes them. With the same dictionary features and edges are compared
one by one; with different ones, through a match of features (`diff_matches`).
"""

from __future__ import annotations

import pyarrow as pa

from schemas.feature_stats import prompt_group
from schemas.node_columns import node_columns
from schemas.table import Table, column

CHANGE = pa.dictionary(pa.int8(), pa.string())

_PROMPT = column("id", pa.string(), "The user's name for the prompt, as in A", "name")


def _both(name: str, type: pa.DataType, meaning: str, unit: str) -> list[pa.Field]:
    return [
        column(f"{name}_{side.lower()}", type, f"{meaning}, in {side}", unit, nullable=True) for side in "AB"
    ]


_CHANGE = [
    column("change", CHANGE, "gained (only in B), lost (only in A) or changed", "name"),
    column(
        "size",
        pa.float64(),
        "Size beyond chance: the larger of the differences, each relative to the largest of its prompt; "
        "of what is in one alone, its distance from where the other was cut off",
        "share of the prompt's largest",
    ),
]

_COUNTS = [
    column(f"{what}_{change}", pa.int64(), f"{what.capitalize()} {change} beyond the noise floor", what)
    for what in ("features", "edges")
    for change in ("gained", "lost", "changed")
]

DIFF_PROMPTS = Table(
    name="diff_prompts",
    row="a prompt that both sweeps have",
    key=("id",),
    schema=pa.schema(
        [
            _PROMPT,
            prompt_group(),
            *_both("target", pa.string(), "First target: by default the most likely next token", "text"),
            *_both("probability", pa.float64(), "Its probability", "probability"),
            *_both("correct", pa.bool_(), "True where it is the prompt's answer", "yes or no"),
            *_both(
                "replacement_score", pa.float64(), "Replacement score of the whole graph", "share, 0 to 1"
            ),
            *_both("completeness_score", pa.float64(), "Completeness of the whole graph", "share, 0 to 1"),
            *_both("nodes", pa.int64(), "Nodes of the pruned graph", "nodes"),
            *_both("edges", pa.int64(), "Edges of the pruned graph", "edges"),
            *_both(
                "path_length",
                pa.float64(),
                "Mean number of edges from a token or error to the targets, over all paths by their share",
                "edges",
            ),
            *_COUNTS,
        ]
    ),
)

DIFF_FEATURES = Table(
    name="diff_features",
    row="a feature node that differs beyond the noise floor",
    key=("id", "layer", "position", "feature"),
    schema=pa.schema(
        [
            _PROMPT,
            prompt_group(),
            column("layer", pa.int16(), "Layer of the feature", "index"),
            column("position", pa.int32(), "Position in the prompt, from 0", "index"),
            column("feature", pa.int32(), "Feature index in the layer's transcoder", "index"),
            *_CHANGE,
            *_both("activation", pa.float64(), "Activation", "activation units"),
            *_both("influence", pa.float64(), "Influence on the targets", "probability"),
        ]
    ),
)

DIFF_EDGES = Table(
    name="diff_edges",
    row="an edge that differs beyond the noise floor",
    key=(
        "id",
        *(field.name for side in ("source_", "target_") for field in node_columns(side)),
        "target_index",
    ),
    schema=pa.schema(
        [
            _PROMPT,
            prompt_group(),
            *node_columns("source_", "the edge's source"),
            *node_columns("target_", "the edge's target"),
            column(
                "target_index",
                pa.int16(),
                "Index in `targets` of `graphs`, from 0, of a target that is neither a token nor a feature; "
                "null for all others",
                "index",
                nullable=True,
            ),
            *_CHANGE,
            *_both("weight", pa.float64(), "Weight", "target's pre-activation, or centred logit"),
            *_both("influence", pa.float64(), "Influence that flows over it", "probability"),
        ]
    ),
)

DIFF_MATCHES = Table(
    name="diff_matches",
    row="a feature of A with the feature of B that is most like it",
    key=("layer_a", "feature_a"),
    schema=pa.schema(
        [
            column("layer_a", pa.int16(), "Layer of A's feature", "index"),
            column("feature_a", pa.int32(), "Its index in the layer's transcoder", "index"),
            column("layer_b", pa.int16(), "Layer of B's feature", "index"),
            column("feature_b", pa.int32(), "Its index in the layer's transcoder", "index"),
            column("correlation", pa.float64(), "Of their activations on shared prompts", "correlation"),
            column("n_coactive", pa.int64(), "Places at which both are active", "places"),
            column("mutual", pa.bool_(), "True where A's is also the most similar to B's", "yes or no"),
            column("matched", pa.bool_(), "True where circuits are compared through this pair", "yes or no"),
        ]
    ),
)

_PARTS = {
    "shared": "Edges of A, positions collapsed, that B has between the matched end points",
    "missing": "Edges of A between matched end points that B does not have",
    "unmatched": "Edges of A with an end point that has no match",
    "new": "Edges of B between matched end points that A does not have",
    "unmatched_b": "Edges of B with an end point that has no match",
}

DIFF_CIRCUITS = Table(
    name="diff_circuits",
    row="a prompt whose circuits were compared through the match",
    key=("id",),
    schema=pa.schema(
        [
            _PROMPT,
            prompt_group(),
            *(column(name, pa.int64(), meaning, "edges") for name, meaning in _PARTS.items()),
            column(
                "shared_influence", pa.float64(), "Share of A's influence on shared edges", "share, 0 to 1"
            ),
            column(
                "unmatched_influence",
                pa.float64(),
                "Share of A's influence on unmatched edges",
                "share, 0 to 1",
            ),
            column("new_influence", pa.float64(), "Share of B's influence on new edges", "share, 0 to 1"),
        ]
    ),
)
