"""`graphs`: one row per traced prompt, with what was found and what it cost."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_key
from schemas.table import Table, column, list_of

TARGET = pa.struct(
    [
        ("kind", pa.string()),
        ("label", pa.string()),
        ("weight", pa.float32()),
        ("probability", pa.float32()),
        ("rank", pa.int32()),
        ("token_ids", list_of(pa.int32())),
        ("token_weights", list_of(pa.float32())),
        ("layer", pa.int16()),
        ("position", pa.int32()),
        ("feature", pa.int32()),
    ]
)


def _count(name: str, meaning: str, unit: str) -> pa.Field:
    return column(name, pa.int64(), meaning, unit)


def _share(name: str, meaning: str) -> pa.Field:
    return column(name, pa.float64(), meaning, "share, 0 to 1")


def _seconds(phase: str, meaning: str) -> pa.Field:
    return column(f"seconds_{phase}", pa.float64(), f"Wall time of {meaning}", "seconds")


_PROMPT = [
    prompt_key(),
    column(
        "id",
        pa.string(),
        "The user's name for the prompt, or its place in the data; with `@` and the position where several "
        "positions of a text are traced",
        "name",
    ),
    column("sequence", pa.string(), "The same without the position: the name of the text", "name"),
    column(
        "sequence_key",
        pa.int64(),
        "64 bits of a hash over the token ids of the text, up to the last position that is traced: rows of "
        "one text share it and count as one observation. Of generated text, over the prompt's",
        "key",
    ),
    column("text", pa.string(), "The traced text, decoded where only token ids were given", "text"),
    column("tokens", list_of(pa.string()), "Each token's text, the opening special one included", "text"),
    column("token_ids", list_of(pa.int32()), "Vocabulary id of each token", "token id"),
    column(
        "opening",
        pa.string(),
        "Text of the token that was put in front of the prompt; null where nothing was",
        "text",
        nullable=True,
    ),
    column(
        "generated",
        pa.string(),
        "Text with which the model went on, to its end; null where none was generated",
        "text",
        nullable=True,
    ),
    column(
        "generated_index",
        pa.int32(),
        "Index in it of the token that the row explains, from 0; the last may be the one that ended it",
        "index",
        nullable=True,
    ),
    column(
        "targets",
        list_of(TARGET),
        "Explained targets, in the order of `target_index`: `kind` (token, difference, direction or "
        "feature), `label`, `weight` beside the others; of a token its `probability` and `rank` (1 is the "
        "likeliest); of tokens and differences `token_ids` with `token_weights`, their logits' factors; of a "
        "feature `layer`, `position` and `feature`. What does not apply is null",
        "probability, or as given",
    ),
]

_PREDICTION = [
    column("prediction", pa.string(), "The model's most likely next token, whatever was explained", "text"),
    column("prediction_id", pa.int32(), "Vocabulary id of this token", "token id"),
    column("prediction_probability", pa.float32(), "The model's probability of it", "probability"),
    column(
        "entropy",
        pa.float32(),
        "Entropy of the model's distribution over the next token; 0 is certain",
        "nats",
    ),
]

_COUNTS = [
    _count("positions", "Tokens of the prompt, the opening special token included", "tokens"),
    _count(
        "active_features", "Features with a non-zero activation, over all layers and positions", "features"
    ),
    _count("selected_features", "Active features whose incoming edges were computed", "features"),
    _count("graph_nodes", "Nodes of the whole graph: selected features, errors, tokens, targets", "nodes"),
    _count("kept_nodes", "Nodes that pruning kept: this prompt's rows in `nodes`", "nodes"),
    _count("kept_edges", "Edges that pruning kept: this prompt's rows in `edges`", "edges"),
]

_SCORES = [
    _share("replacement_score", "Whole graph: token influence / (token + error influence)"),
    _share(
        "completeness_score",
        "Whole graph: share of influence whose inputs are features or tokens, not errors",
    ),
    _share(
        "pruned_replacement_score",
        "As `replacement_score`, of the pruned graph: removed nodes count as errors",
    ),
    _share(
        "pruned_completeness_score",
        "As `completeness_score`, of the pruned graph: removed nodes count as errors",
    ),
    _share(
        "unexpanded_influence",
        "Share of influence that rests with features that were not expanded; 0 if all were",
    ),
    _share("dropped_share", "Share of all |weight| that `edges_per_row` left out; 0 if every edge was kept"),
    _share(
        "constants_share",
        "Share of the targets' input that no node carries, but constants: biases, learned positional "
        "embeddings, and MLPs at the positions without features. |constants| / (|constants| + sum of "
        "|weight|), mean over the targets by weight",
    ),
]

_COST = [
    _seconds("model", "the forward pass and the features"),
    _seconds("rows", "the edges"),
    _seconds("pruning", "influence, scores and pruning"),
    column(
        "peak_bytes",
        pa.int64(),
        "Most memory in use while tracing: allocated on the device, or resident in the process on a CPU",
        "bytes",
        nullable=True,
    ),
    column(
        "block_pairs",
        pa.int64(),
        "Size of the blocks that rows were computed in, which decides their last bits",
        "(row, position) pairs",
        nullable=True,
    ),
]

_ORIGIN = [
    column(
        "engine_version",
        pa.string(),
        "Version of what computes graphs; another where results differ",
        "version",
    ),
    column("torch_version", pa.string(), "Version of PyTorch", "version"),
    column("transformers_version", pa.string(), "Version of Transformers", "version"),
    column("run_key", pa.int64(), "64 bits of a hash over all that changes a result", "key"),
    column("created", pa.timestamp("us", tz="UTC"), "Time of the trace", "UTC time"),
]

GRAPHS = Table(
    name="graphs",
    row="a traced prompt, or a position of one",
    key=("prompt_key",),
    byte_stream_split=("prediction_probability", "entropy"),
    plain=("prompt_key", "text", "generated"),
    takes_columns=True,
    schema=pa.schema([*_PROMPT, *_PREDICTION, *_COUNTS, *_SCORES, *_COST, *_ORIGIN]),
)
