"""A stored graph as attribution-graph JSON, which circuit-tracer's viewer and Neuronpedia read.

The nodes and edges are those that pruning kept. `influence` is the cumulative share (low is important),
because that is what viewers filter by; a target has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipeline.export.names import feature_number, identity, node_id, node_number, public_name
from pipeline.export.qk_json import qk_tracing
from pipeline.features import FeatureName
from pipeline.results import StoredGraph
from pipeline.store import FeatureLabel
from pipeline.store.rows import versions
from pipeline.token_labels import printable_token

FEATURE_TYPES = {
    "feature": "cross layer transcoder",
    "error": "mlp reconstruction error",
    "token": "embedding",
    "logit": "logit",
}
"""Kinds of nodes in the viewers' words; a per-layer transcoder's features have the same one."""


def graph_document(
    graph: StoredGraph,
    run: dict[str, Any],
    slug: str,
    scan: str,
    features_at: str | None = None,
    supernodes: Mapping[tuple[int, int], str] | None = None,
    labels: Mapping[str, FeatureLabel] | None = None,
) -> dict[str, Any]:
    """Return the document of one graph.

    Args:
        graph: the graph.
        run: the configuration of its sweep.
        slug: name of the graph.
        scan: name of the dictionary; for Neuronpedia, its name of the model.
        features_at: URL of the features' documents, if there are any.
        supernodes: name of each feature's supernode, by layer and index.
        labels: label of each feature or node that has one, by its name.

    """
    nodes = graph.nodes.to_pylist()
    ids = [node_id(node) for node in nodes]
    ends = (graph.edges.source.tolist(), graph.edges.target.tolist(), graph.edges.weight.tolist())
    metadata = _metadata(graph.prompt, run, slug, scan, features_at)
    documents = [_node(node, id, graph.prompt) for node, id in zip(nodes, ids, strict=True)]
    for node, document in zip(nodes, documents, strict=True):
        if node["kind"] == "feature" and (label := node_label(labels or {}, node)):
            document["clerp"] = label
    metadata["info"]["head_loadings"] = _loadings(graph, ids)
    if graph.qk.num_rows:
        metadata["info"]["qk"] = list(map(_given, graph.qk.drop_columns(["prompt_key", "id"]).to_pylist()))
        for index, results in qk_tracing(graph, ids).items():
            documents[index]["qk_tracing_results"] = results
    return {
        "metadata": metadata,
        "qParams": _view(nodes, ids, supernodes or {}),
        "nodes": documents,
        "links": [
            {"source": ids[source], "target": ids[target], "weight": weight}
            for source, target, weight in zip(*ends, strict=True)
        ],
    }


def node_label(labels: Mapping[str, FeatureLabel], node: Mapping[str, Any]) -> str:
    """Return the label of a row of `nodes` that is a feature; empty where it has none."""
    name = FeatureName(node["layer"], node["feature"], node["position"])
    return str(labels.get(str(name)) or labels.get(f"{name.layer}/{name.feature}") or "")


def _view(
    nodes: list[dict[str, Any]], ids: list[str], supernodes: Mapping[tuple[int, int], str]
) -> dict[str, Any]:
    """Return what a viewer shows first: the supernodes that have two nodes or more here, pinned."""
    members: dict[str, list[str]] = defaultdict(list)
    for node, id in zip(nodes, ids, strict=True):
        if node["kind"] == "feature" and (name := supernodes.get((node["layer"], node["feature"]))):
            members[name].append(id)
    groups = [[name, *found] for name, found in members.items() if len(found) > 1]
    pinned = [id for _, *found in groups for id in found]
    return {"pinnedIds": pinned, "supernodes": groups, "linkType": "both", "clickedId": "", "sg_pos": ""}


def _metadata(
    prompt: dict[str, Any], run: dict[str, Any], slug: str, scan: str, features_at: str | None
) -> dict[str, Any]:
    attribution, pruning = run.get("attribution", {}), run.get("pruning", {})
    generation = {
        "max_n_logits": attribution.get("max_targets"),
        "desired_logit_prob": attribution.get("target_probability"),
        "max_feature_nodes": attribution.get("max_feature_nodes"),
    }
    created: datetime = prompt["created"]
    return {
        "slug": slug,
        "scan": scan,
        "transcoder_list": [],
        "prompt_tokens": prompt["tokens"],
        "prompt": prompt["text"],
        **_given({"node_threshold": pruning.get("node_threshold")}),
        "schema_version": 1,
        "generation_settings": _given(generation),
        "pruning_settings": _given(pruning),
        "info": {
            "generator": {"name": "circuit-sweep", "version": versions()["engine_version"]},
            "create_time_ms": int(created.timestamp() * 1000),
            **identity(prompt),
            "model": public_name(run.get("model", {})),
            "transcoders": public_name(run.get("transcoders", {})),
        },
        "feature_details": {"feature_json_base_url": features_at} if features_at else {},
    }


def _loadings(graph: StoredGraph, ids: list[str]) -> list[dict[str, Any]]:
    """Return the paths that carry the strongest edges; no viewer reads them, but none refuses them here."""
    names = ("path", "head_layer", "head", "key_position", "loading")
    return [
        {
            "source": ids[graph.edges.source[row["edge"]]],
            "target": ids[graph.edges.target[row["edge"]]],
            **_given({name: row[name] for name in names}),
        }
        for row in graph.loadings.to_pylist()
    ]


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was not set: Neuronpedia refuses a null where it wants a number."""
    return {name: value for name, value in settings.items() if value is not None}


def _node(node: dict[str, Any], id: str, prompt: dict[str, Any]) -> dict[str, Any]:
    document = {
        "node_id": id,
        "feature": node_number(node),
        "layer": str(node["layer"]),
        "ctx_idx": node["position"],
        "feature_type": FEATURE_TYPES[node["kind"]],
        "token_prob": 0.0,
        "is_target_logit": False,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{id.rpartition('_')[0]}-{node['position']}",
        "clerp": "",
        "influence": node["cumulative_influence"],
        "activation": None,
    }
    return document | _SPECIAL[node["kind"]](node, prompt)


def _feature(node: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature_number(node["layer"], node["feature"]), "activation": node["activation"]}


def _token(node: dict[str, Any], prompt: dict[str, Any]) -> dict[str, Any]:
    return {
        "feature": node["position"],
        "layer": "E",
        "clerp": f'Emb: "{printable_token(prompt["tokens"][node["position"]])}"',
    }


def _logit(node: dict[str, Any], prompt: dict[str, Any]) -> dict[str, Any]:
    label = prompt["targets"][node["target_index"]]["label"]
    probability = node["activation"]
    return {
        # circuit-tracer gives the targets' layer a number one higher.
        "layer": str(node["layer"] + 1),
        "token_prob": probability,
        "is_target_logit": node["target_index"] == 0,
        "clerp": f'Output "{printable_token(label)}" (p={probability:.3f})',
        "influence": None,
    }


_SPECIAL = {"feature": _feature, "error": lambda *_: {}, "token": _token, "logit": _logit}
"""Fields that only one kind of node has."""
