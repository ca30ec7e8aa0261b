"""A graph to rows: whole arrays at a time, no Python loop over nodes or edges.

Nodes and edges keep the graph's order: edges by target, then source, so that a target's columns are long runs
and its sources ascend: what compresses best of the orders measured that a reader can also make use of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.graph import Component, EdgePath, NodeKind, PrunedGraph, ScorePart, Target
from pipeline.store.rows.extra_columns import NO_COLUMNS
from pipeline.store.rows.failures import extra_values, row
from pipeline.store.rows.records import TracedPrompt, versions
from schemas import NODE_COLUMNS, TABLES

PATHS = pa.array([path.label for path in EdgePath], pa.string())

COMPONENTS = pa.array([component.label for component in Component], pa.string())

PARTS = pa.array([part.label for part in ScorePart], pa.string())

KINDS = pa.array([kind.label for kind in NodeKind], pa.string())


def graph_tables(prompt: TracedPrompt, extra_columns: pa.Schema = NO_COLUMNS) -> dict[str, pa.Table]:
    """Return the rows of one traced prompt, by table, with the sweep's extra columns."""
    names = _node_names(prompt.pruned, prompt.graph.targets)
    return {
        "graphs": _graph_row(prompt, extra_columns),
        "nodes": _node_rows(prompt, names),
        "edges": _edge_rows(prompt, names),
        "head_loadings": _loading_rows(prompt, names),
        "qk": _qk_rows(prompt),
        "activations": _activation_rows(prompt),
        "reconstruction": _reconstruction_rows(prompt),
    }


def _graph_row(prompt: TracedPrompt, extra_columns: pa.Schema) -> pa.Table:
    graph, pruned = prompt.graph, prompt.pruned
    values = {
        "prompt_key": prompt.prompt_key,
        "id": prompt.id,
        "sequence": prompt.id if prompt.sequence is None else prompt.sequence,
        "sequence_key": prompt.prompt_key if prompt.sequence_key is None else prompt.sequence_key,
        "text": graph.prompt,
        "tokens": list(graph.token_strings),
        "token_ids": graph.input_tokens.tolist(),
        "opening": "".join(graph.token_strings[: prompt.opened_by]) or None,
        "generated": prompt.generated,
        "generated_index": prompt.generated_index,
        "targets": [_target(target) for target in graph.targets],
        "prediction": graph.prediction.token,
        "prediction_id": graph.prediction.token_id,
        "prediction_probability": graph.prediction.probability,
        "entropy": graph.prediction.entropy,
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
        "dropped_share": prompt.dropped_share,
        "constants_share": prompt.constants_share,
        "seconds_model": graph.seconds.model,
        "seconds_rows": graph.seconds.rows,
        "seconds_pruning": prompt.pruning_seconds,
        "peak_bytes": prompt.peak_bytes,
        "block_pairs": prompt.block_pairs,
        **versions(),
        "run_key": prompt.run_key,
        "created": prompt.created,
    }
    return row(
        "graphs", values | extra_values(prompt.extra_columns, extra_columns, strict=True), extra_columns
    )


def _target(target: Target) -> dict[str, Any]:
    """Return one of `targets`; what does not apply is null."""
    return {
        "kind": target.kind,
        "label": target.label,
        "weight": target.probability,
        "probability": target.probability if target.kind == "token" else None,
        "rank": target.rank,
        "token_ids": list(target.tokens) or None,
        "token_weights": list(target.tokens.values()) or None,
        "layer": target.layer,
        "position": target.position,
        "feature": target.feature,
    }


def _node_names(pruned: PrunedGraph, targets: Sequence[Target]) -> dict[str, pa.Array]:
    """Return the columns that name the kept nodes, null where one does not apply."""
    kind, number = pruned.kind.numpy(), pruned.feature.numpy().copy()
    is_token, is_target = kind == NodeKind.TOKEN, kind == NodeKind.LOGIT
    # Pruning keeps every target, in their order. What is no token has a number past the vocabulary.
    number[is_target] = [target.token_id if target.feature is None else target.feature for target in targets]
    index = np.zeros(len(kind), np.int16)
    index[is_target] = np.arange(len(targets))
    has_feature, has_token = kind == NodeKind.FEATURE, is_token.copy()
    has_feature[is_target] = [target.kind == "feature" for target in targets]
    has_token[is_target] = [target.kind == "token" for target in targets]
    return {
        "kind": _words(pruned.kind, KINDS),
        "layer": pa.array(pruned.layer.numpy(), mask=is_token),
        "position": pa.array(pruned.position.numpy()),
        "feature": pa.array(number, mask=~has_feature),
        "token_id": pa.array(number, mask=~has_token),
        "target_index": pa.array(index, mask=~is_target),
    }


def _node_rows(prompt: TracedPrompt, names: Mapping[str, pa.Array]) -> pa.Table:
    graph, pruned = prompt.graph, prompt.pruned
    has_inputs = (pruned.kind == NodeKind.FEATURE) | (pruned.kind == NodeKind.LOGIT)
    is_error = pruned.kind == NodeKind.ERROR
    error_norm = torch.zeros(len(pruned.kind))
    error_norm[is_error] = graph.reconstruction.error_norms[pruned.layer[is_error], pruned.position[is_error]]
    columns = {
        **names,
        "position_from_end": graph.n_positions - 1 - pruned.position,
        "activation": _where(has_inputs, pruned.activation),
        "total_input": _where(has_inputs, pruned.total_input),
        "error_norm": _where(is_error, error_norm),
        "influence": pruned.influence,
        "cumulative_influence": pruned.cumulative_influence,
        "stability": prompt.stability.nodes,
    }
    return _rows("nodes", prompt, columns)


def _where(applies: Bool[Tensor, " n"], values: Float[Tensor, " n"]) -> pa.Array:
    """Return values as a column that is null elsewhere."""
    return pa.array(values.float().numpy(), mask=~applies.numpy())


def _edge_rows(prompt: TracedPrompt, names: Mapping[str, pa.Array]) -> pa.Table:
    pruned = prompt.pruned
    columns = {
        **_ends(names, pruned.source, pruned.target),
        "weight": pruned.weight,
        "influence": pruned.edge_influence,
        "stability": prompt.stability.edges,
    }
    return _rows("edges", prompt, columns)


def _ends(
    names: Mapping[str, pa.Array], source: Int[Tensor, " edges"], target: Int[Tensor, " edges"]
) -> dict[str, pa.Array]:
    """Name both ends of each edge."""
    sources, targets = pa.array(source.numpy()), pa.array(target.numpy())
    return {
        **{f"source_{name}": names[name].take(sources) for name in NODE_COLUMNS},
        **{f"target_{name}": names[name].take(targets) for name in NODE_COLUMNS},
        "target_index": names["target_index"].take(targets),
    }


def _loading_rows(prompt: TracedPrompt, names: Mapping[str, pa.Array]) -> pa.Table:
    found, pruned = prompt.head_loadings, prompt.pruned
    if found is None:
        return TABLES["head_loadings"].schema.empty_table()
    no_head = (found.path != EdgePath.HEAD).numpy()
    weight = pruned.weight[found.edge]
    columns = {
        **_ends(names, pruned.source[found.edge], pruned.target[found.edge]),
        "path": _words(found.path, PATHS),
        "head_layer": pa.array(found.layer.numpy(), mask=no_head),
        "head": pa.array(found.head.numpy(), mask=no_head),
        "key_position": pa.array(found.key.numpy(), mask=no_head),
        "loading": found.loading,
        "share": torch.where(weight == 0, 0, found.loading / weight),
    }
    return _rows("head_loadings", prompt, columns)


def _qk_rows(prompt: TracedPrompt) -> pa.Table:
    found = prompt.qk
    if found is None:
        return TABLES["qk"].schema.empty_table()
    columns = {
        "head_layer": found.layer,
        "head": found.head,
        "query_at": found.query,
        "key_at": found.key,
        "part": _words(found.part, PARTS),
        **_component("query", found.query_component),
        **_component("key", found.key_component),
        "score": found.score,
        "contrast": pa.array(found.contrast.numpy(), mask=found.contrast.isnan().numpy()),
        "attention": _where(found.part == ScorePart.SCORE, found.attention),
    }
    return _rows("qk", prompt, columns)


def _component(side: str, named: Int[Tensor, "n 4"]) -> dict[str, pa.Array]:
    """Name components, null where a column does not apply."""
    kind, layer, position, number = named.unbind(1)
    is_token = (kind == Component.TOKEN).numpy()
    return {
        f"{side}_kind": _words(kind, COMPONENTS),
        f"{side}_layer": pa.array(layer.numpy(), mask=(layer < 0).numpy()),
        f"{side}_position": pa.array(position.numpy(), mask=(position < 0).numpy()),
        f"{side}_feature": pa.array(number.numpy(), mask=(kind != Component.FEATURE).numpy()),
        f"{side}_token_id": pa.array(number.numpy(), mask=~is_token),
    }


def _words(index: Int[Tensor, " n"], words: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(index.numpy().astype(np.int8)), words)


def _activation_rows(prompt: TracedPrompt) -> pa.Table:
    graph = prompt.graph
    layer, position, feature = graph.active_features.unbind(1)
    columns = {
        "layer": layer,
        "position": position,
        "position_from_end": graph.n_positions - 1 - position,
        "feature": feature,
        "activation": graph.activations,
    }
    return _rows("activations", prompt, columns)


def _reconstruction_rows(prompt: TracedPrompt) -> pa.Table:
    found = prompt.graph.reconstruction
    L, T = found.error_norms.shape
    # Layer-major, as errors are; nothing is reconstructed at the first positions.
    layer, position = torch.cartesian_prod(torch.arange(L), torch.arange(found.zero_positions, T)).unbind(1)
    active = torch.zeros(L, T, dtype=torch.long)
    features = prompt.graph.active_features
    active.index_put_((features[:, 0], features[:, 1]), torch.ones(len(features), dtype=torch.long), True)
    cosine = found.cosines[layer, position].clamp(-1, 1)
    columns = {
        "layer": layer,
        "position": position,
        "position_from_end": T - 1 - position,
        "active_features": active[layer, position],
        "output_norm": found.output_norms[layer, position],
        "error_norm": found.error_norms[layer, position],
        "cosine": cosine,
    }
    return _rows("reconstruction", prompt, columns)


def _rows(table: str, prompt: TracedPrompt, columns: Mapping[str, Tensor | pa.Array]) -> pa.Table:
    schema = TABLES[table].schema
    count = len(next(iter(columns.values())))
    of_prompt = {
        "prompt_key": pa.array(np.full(count, prompt.prompt_key, dtype=np.int64)),
        "id": pa.repeat(pa.scalar(prompt.id, pa.string()), count),
    }
    arrays = [_array({**of_prompt, **columns}[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Tensor | pa.Array, type: pa.DataType) -> pa.Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # numpy knows no bfloat16
        values = pa.array((values.float() if pa.types.is_floating(type) else values).numpy())
    return values if values.type == type else values.cast(type)
