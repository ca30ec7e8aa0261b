"""A graph to rows: whole arrays at a time, no Python loop over nodes or edges.

Nodes keep the graph's order. Edges are sorted by target, then source, in that same order, so that a
target's columns are long runs and its sources ascend: what compresses best of the orders measured that a
reader can also make use of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from torch import Tensor

from pipeline.graph import NodeKind, PrunedGraph
from pipeline.store.rows.extra_columns import NO_COLUMNS
from pipeline.store.rows.failures import carried_values, row
from pipeline.store.rows.records import TracedPrompt, versions
from schemas import TABLES

KINDS = pa.array([kind.label for kind in NodeKind], pa.string())


def graph_tables(prompt: TracedPrompt, carried: pa.Schema = NO_COLUMNS) -> dict[str, pa.Table]:
    """The rows of one traced prompt, by table; `carried` are the sweep's own columns (see `carried`)."""
    return {
        "graphs": _graph_row(prompt, carried),
        "nodes": _node_rows(prompt),
        "edges": _edge_rows(prompt),
        "activations": _activation_rows(prompt),
    }


def _graph_row(prompt: TracedPrompt, carried: pa.Schema) -> pa.Table:
    graph, pruned = prompt.graph, prompt.pruned
    values = {
        "prompt_key": prompt.prompt_key,
        "id": prompt.id,
        "text": graph.prompt,
        "tokens": list(graph.token_strings),
        "token_ids": graph.input_tokens.tolist(),
        "targets": [asdict(target) for target in graph.targets],
        "positions": graph.n_positions,
        "active_features": len(graph.active_features),
        "selected_features": len(graph.expanded),
        "graph_nodes": graph.n_nodes,
        "kept_nodes": len(pruned.kind),
        "kept_edges": len(pruned.target),
        "replacement_score": prompt.replacement_score,
        "completeness_score": prompt.completeness_score,
        "pruned_replacement_score": pruned.replacement_score,
        "pruned_completeness_score": pruned.completeness_score,
        "unexpanded_influence": prompt.unexpanded_influence,
        "seconds_model": graph.seconds.get("model", 0.0),
        "seconds_rows": graph.seconds.get("rows", 0.0),
        "seconds_pruning": prompt.pruning_seconds,
        "peak_bytes": prompt.peak_bytes,
        "block_pairs": prompt.block_pairs,
        **versions(),
        "run_key": prompt.run_key,
        "created": prompt.created,
    }
    return row("graphs", values | carried_values(prompt.carried, carried, strict=True), carried)


def _node_rows(prompt: TracedPrompt) -> pa.Table:
    names = [name for name in TABLES["nodes"].schema.names if name != "prompt_key"]
    return _rows("nodes", prompt.prompt_key, {name: getattr(prompt.pruned, name) for name in names})


def _edge_rows(prompt: TracedPrompt) -> pa.Table:
    pruned = prompt.pruned
    order = (pruned.target.long() * len(pruned.kind) + pruned.source).argsort()
    source, target = pruned.source[order], pruned.target[order]
    columns = {
        **_ends(pruned, "source", source),
        **_ends(pruned, "target", target),
        "weight": pruned.weight[order],
        "influence": pruned.edge_influence[order],
    }
    return _rows("edges", prompt.prompt_key, columns)


def _ends(pruned: PrunedGraph, end: str, nodes: Int[Tensor, " edges"]) -> dict[str, Tensor]:
    names = ("kind", "layer", "position", "feature")
    return {f"{end}_{name}": getattr(pruned, name)[nodes] for name in names}


def _activation_rows(prompt: TracedPrompt) -> pa.Table:
    graph = prompt.graph
    columns = dict(zip(("layer", "position", "feature"), graph.active_features.unbind(1), strict=True))
    return _rows("activations", prompt.prompt_key, columns | {"activation": graph.activations})


def _rows(table: str, prompt_key: int, columns: Mapping[str, Tensor]) -> pa.Table:
    schema = TABLES[table].schema
    count = len(next(iter(columns.values())))
    keys = pa.array(np.full(count, prompt_key, dtype=np.int64))
    arrays = [_array(columns[field.name], field.type) for field in schema if field.name != "prompt_key"]
    return pa.Table.from_arrays([keys, *arrays], schema=schema)


def _array(values: Tensor, type: pa.DataType) -> pa.Array:
    values = values.detach().cpu()
    if pa.types.is_dictionary(type):
        return pa.DictionaryArray.from_arrays(pa.array(values.numpy().astype(np.int8)), KINDS)
    if pa.types.is_floating(type):
        values = values.float()  # numpy knows no bfloat16
    return pa.array(values.numpy()).cast(type)
