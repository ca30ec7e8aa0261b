"""The tables of a sweep in a few kilobytes, to compare with those of another version.

What is exact (keys, texts, counts, which nodes and edges there are, in which order) is hashed prompt by
prompt. What is measured can differ in its last bits between processors: of those columns only sums are kept.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NODE = ("kind", "layer", "position", "feature")

EXACT = {
    "graphs": (
        "id",
        "text",
        "tokens",
        "token_ids",
        "target_tokens",
        "positions",
        "active_features",
        "selected_features",
        "graph_nodes",
        "kept_nodes",
        "kept_edges",
    ),
    "nodes": NODE,
    "edges": tuple(f"{end}_{name}" for end in ("source", "target") for name in NODE),
    "activations": NODE[1:],
}

MEASURED = {
    "graphs": (
        "target_probabilities",
        "replacement_score",
        "completeness_score",
        "pruned_replacement_score",
        "pruned_completeness_score",
        "unexpanded_influence",
    ),
    "nodes": ("activation", "influence", "cumulative_influence"),
    "edges": ("weight", "influence"),
    "activations": ("activation",),
}

RENAMED = {
    "graphs": {
        "expanded_features": "selected_features",
        "replacement": "replacement_score",
        "completeness": "completeness_score",
        "pruned_replacement": "pruned_replacement_score",
        "pruned_completeness": "pruned_completeness_score",
        "residual": "unexpanded_influence",
    },
    "nodes": {"cumulative": "cumulative_influence"},
    "edges": {"score": "influence"},
    "activations": {},
}
"""Names of version 0.1 and those of today."""


def digest(tables: dict[str, pa.Table]) -> dict[str, dict]:
    """Digest tables whose columns are as `of_format_1` or `of_format_2` returns them."""
    return {table: _digest(rows, EXACT[table], MEASURED[table]) for table, rows in tables.items()}


def of_format_1(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Give the columns of version 0.1 the names of today."""
    renamed = {}
    for table, rows in tables.items():
        renamed[table] = rows.rename_columns([RENAMED[table].get(name, name) for name in rows.column_names])
    targets = pc.list_flatten(tables["graphs"]["targets"])
    return renamed | {"graphs": _with_targets(renamed["graphs"], pc.struct_field(targets, "token_id"))}


def of_format_2(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Say what does not apply as version 0.1 did: a layer or an index is -1, a token's id is its index."""
    nodes = _filled(tables["nodes"], "")
    activation = pc.fill_null(nodes["activation"], 0.0)
    targets = pc.list_flatten(tables["graphs"]["targets"])
    ids = pc.list_element(pc.struct_field(targets, "token_ids"), 0)
    return {
        "graphs": _with_targets(tables["graphs"], ids),
        "nodes": _with(nodes, "activation", activation),
        "edges": _filled(_filled(tables["edges"], "source_"), "target_"),
        "activations": tables["activations"],
    }


def _filled(rows: pa.Table, prefix: str) -> pa.Table:
    feature = pc.coalesce(rows[f"{prefix}feature"], rows[f"{prefix}token_id"], -1)
    rows = _with(rows, f"{prefix}feature", feature)
    return _with(rows, f"{prefix}layer", pc.fill_null(rows[f"{prefix}layer"], -1))


def _with_targets(graphs: pa.Table, token_ids: pa.ChunkedArray) -> pa.Table:
    """Add the targets' numbers as lists of their own."""
    targets = graphs["targets"].combine_chunks()
    probability = pc.struct_field(targets.flatten(), "probability")
    for name, values in (("target_tokens", token_ids), ("target_probabilities", probability)):
        flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        graphs = graphs.append_column(name, pa.ListArray.from_arrays(targets.offsets, flat))
    return graphs


def _with(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


def _digest(rows: pa.Table, exact: tuple[str, ...], measured: tuple[str, ...]) -> dict:
    keys = rows["prompt_key"].to_numpy()
    order = np.argsort(keys, kind="stable")  # rows of a prompt keep their order
    rows, keys = rows.take(pa.array(order)), keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    columns = [rows[name].to_pylist() for name in exact]
    prompts = []
    for first, last in zip(starts, [*starts[1:], len(keys)], strict=True):
        content = repr([keys[first].item(), *(column[first:last] for column in columns)])
        prompts.append(blake2b(content.encode(), digest_size=3).hexdigest())
    return {"rows": len(keys), "prompts": "".join(prompts), "sums": _sums(rows, measured)}


def _sums(rows: pa.Table, columns: tuple[str, ...]) -> dict[str, list[float]]:
    """Sum each column, with and without its signs."""
    sums = {}
    for name in columns:
        values = rows[name].combine_chunks()
        values = values.flatten() if pa.types.is_list(values.type) else values
        numbers = values.to_numpy(zero_copy_only=False).astype(float)
        sums[name] = [float(f"{total:.8g}") for total in (numbers.sum(), np.abs(numbers).sum())]
    return sums
