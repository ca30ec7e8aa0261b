"""A synthetic output of 10 million edges, in the shape of a sweep of a model of 26 layers.

1,000 prompts of 16 tokens, each with 10,000 edges between some 600 nodes; 16,384 features a layer. How often
a feature occurs falls off as one over its rank. Each weight is a product of two log-normal node strengths and
a normal draw, so mantissas are noise as in measured weights; the strongest pairs that a circuit can have are
the edges. End points cost 2.4 bytes an edge in prompt order, where those of real graphs cost 1.5 to 2.6.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.store import Output
from pipeline.store.commits import shard_id
from schemas import TABLES

PROMPTS, EDGES_A_PROMPT, PROMPTS_A_SHARD = 1000, 10_000, 50
LAYERS, FEATURES, POSITIONS, VOCABULARY = 26, 16_384, 16, 50_000
ACTIVE, ERRORS, TARGETS = 500, 75, 5
"""Nodes of a graph, besides its tokens."""

ACTIVATIONS = 6000
"""Active features of a prompt, kept or not, where they are written."""

FAMILIES = 8

KINDS = pa.array(["feature", "error", "token", "logit"])
FEATURE, ERROR, TOKEN, LOGIT = range(4)
RUN_KEY = 0


def write_synthetic(output: Output, has_activations: bool = False) -> None:
    """Commit and publish all prompts, shard by shard."""
    draw = np.random.default_rng(0)
    output.claim({"synthetic": True}, RUN_KEY, pa.schema([("family", pa.string())]))
    schema = TABLES["graphs"].schema.append(output.extra_columns.field("family"))
    for keys in draw.integers(-(2**62), 2**62, (PROMPTS // PROMPTS_A_SHARD, PROMPTS_A_SHARD)):
        prompts = [_prompt(int(key), draw, schema, has_activations) for key in keys]
        tables = {name: pa.concat_tables([prompt[name] for prompt in prompts]) for name in prompts[0]}
        output.commit(shard_id(map(int, keys), RUN_KEY), tables)
    output.publish(RUN_KEY)


def _prompt(
    key: int, draw: np.random.Generator, schema: pa.Schema, has_activations: bool
) -> dict[str, pa.Table]:
    """Draw one prompt's rows."""
    kind, node = _nodes(draw)
    source, target, weight = _strongest(kind, node, draw)
    count = len(kind)
    target_index = pa.array(np.arange(count) - count + TARGETS, mask=kind != LOGIT)
    nodes = {
        **_node_columns("", kind, node),
        "target_index": target_index,
        "position_from_end": POSITIONS - 1 - node[:, 1],
        **{name: draw.random(count) for name in TABLES["nodes"].byte_stream_split},
        "stability": draw.integers(0, 16, count) / 15,
    }
    influence = np.abs(weight) * draw.random(len(weight)) * 1e-3
    edges = {
        **_node_columns("source_", kind[source], node[source]),
        **_node_columns("target_", kind[target], node[target]),
        "target_index": target_index.take(pa.array(target)),
        "weight": weight,
        "influence": influence,
        "stability": draw.integers(0, 16, len(weight)) / 15,
    }
    kept = node[kind == FEATURE]
    activations = {"activations": _activations(key, kept, draw)} if has_activations else {}
    return {
        "graphs": _graph_row(key, node[kind == TOKEN, 2], node[kind == LOGIT, 2], count, len(weight), schema),
        "nodes": _table("nodes", _of_prompt(key, count) | nodes),
        "edges": _table("edges", _of_prompt(key, len(weight)) | edges),
        **activations,
    }


def _of_prompt(key: int, rows: int) -> dict[str, object]:
    return {"prompt_key": np.full(rows, key), "id": pa.repeat(f"prompt {key}", rows)}


def _features(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw layers, positions and features."""
    rank = (FEATURES ** draw.random(count)).astype(int)  # its logarithm is uniform: frequency is 1 / rank
    layer = draw.integers(0, LAYERS, count)
    return layer, draw.integers(1, POSITIONS, count), (rank * 7919 + layer * 31) % FEATURES


def _activations(key: int, kept: np.ndarray, draw: np.random.Generator) -> pa.Table:
    """Draw all active features of a prompt, those of its graph among them."""
    others = np.stack(_features(ACTIVATIONS - len(kept), draw), 1)
    layer, position, feature = np.unique(np.concatenate([kept, others]), axis=0).T
    columns = {
        "layer": layer,
        "position": position,
        "position_from_end": POSITIONS - 1 - position,
        "feature": feature,
        "activation": draw.lognormal(0, 1, len(layer)),
    }
    return _table("activations", _of_prompt(key, len(layer)) | columns)


def _nodes(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the kind of each node, and its layer, position and feature."""
    parts = {
        FEATURE: _features(ACTIVE, draw),
        ERROR: (draw.integers(0, LAYERS, ERRORS), draw.integers(1, POSITIONS, ERRORS), np.full(ERRORS, -1)),
        TOKEN: (np.full(POSITIONS, -1), np.arange(POSITIONS), draw.integers(0, VOCABULARY, POSITIONS)),
        LOGIT: (
            np.full(TARGETS, LAYERS),
            np.full(TARGETS, POSITIONS - 1),
            draw.integers(0, VOCABULARY, TARGETS),
        ),
    }
    by_kind = {kind: np.unique(np.stack(part, 1), axis=0) for kind, part in parts.items()}
    kind = np.repeat(list(by_kind), [len(part) for part in by_kind.values()])
    return kind, np.concatenate(list(by_kind.values()))


def _strongest(
    kind: np.ndarray, node: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw weights for the pairs that a circuit can have and return the strongest, by target, then source."""
    layer, position = node[:, 0], node[:, 1]
    takes = np.flatnonzero(np.isin(kind, [FEATURE, LOGIT]))
    possible = (layer[None] < layer[takes, None]) & (position[None] <= position[takes, None])
    target, source = np.nonzero(possible)
    target = takes[target]
    strength = draw.lognormal(0, 1, len(kind))
    weight = draw.standard_normal(len(source)) * strength[source] * strength[target]
    kept = np.sort(np.argpartition(-np.abs(weight), EDGES_A_PROMPT)[:EDGES_A_PROMPT])
    return source[kept], target[kept], weight[kept]


def _node_columns(prefix: str, kind: np.ndarray, node: np.ndarray) -> dict[str, object]:
    layer, position, number = node.T
    columns = {
        "kind": pa.DictionaryArray.from_arrays(pa.array(kind.astype(np.int8)), KINDS),
        "layer": pa.array(layer, mask=kind == TOKEN),
        "position": position,
        "feature": pa.array(number, mask=kind != FEATURE),
        "token_id": pa.array(number, mask=~np.isin(kind, [TOKEN, LOGIT])),
    }
    return {f"{prefix}{name}": values for name, values in columns.items()}


def _table(name: str, columns: dict[str, object]) -> pa.Table:
    schema = TABLES[name].schema
    return pa.Table.from_arrays(
        [pa.array(columns[f.name]).cast(f.type, safe=False) for f in schema], schema=schema
    )


def _graph_row(
    key: int, tokens: np.ndarray, targets: np.ndarray, nodes: int, edges: int, schema: pa.Schema
) -> pa.Table:
    """A row of `graphs`; scores are spread over 0 to 1 by the prompt's key, and what costs nothing is 0."""
    empty = {"string": "", "int64": 0, "int32": 0, "float": 0.0, "double": 0.0, "timestamp[us, tz=UTC]": 0}
    row = {field.name: empty.get(str(field.type), []) for field in schema}
    words = [f" word{token}" for token in tokens.tolist()]
    target = {"kind": "token", "weight": 1 / TARGETS, "probability": 1 / TARGETS, "token_weights": [1.0]}
    scores = {field.name: key % 997 / 997 for field in schema if field.name.endswith("_score")}
    known = {
        "prompt_key": key,
        "id": f"prompt {key}",
        "text": "".join(words),
        "tokens": words,
        "token_ids": tokens.tolist(),
        "targets": [
            target | {"label": f" word{token}", "token_ids": [token], "rank": rank}
            for rank, token in enumerate(targets.tolist(), 1)
        ],
        "prediction": f" word{targets[0]}",
        "positions": POSITIONS,
        "kept_edges": edges,
        "kept_nodes": nodes,
        "family": f"family {key % FAMILIES}",
    }
    return pa.Table.from_pylist([row | scores | known], schema)
