"""The circuit of a graph that was just traced, before it is rows of a table."""

from __future__ import annotations

import numpy as np

from pipeline.graph import AttributionGraph, NodeKind, PrunedGraph
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.explained_target import ExplainedTarget


def circuit_of(graph: AttributionGraph, pruned: PrunedGraph) -> Circuit:
    """Return what the tests of a graph need, for targets that are tokens or differences of two."""
    kind = pruned.kind.cpu().numpy()
    is_feature, is_target = kind == NodeKind.FEATURE, kind == NodeKind.LOGIT
    columns = (pruned.layer, pruned.position, pruned.feature)
    features = np.stack([column.cpu().numpy() for column in columns], axis=1).astype(np.int64)[is_feature]
    targets = tuple(ExplainedTarget(each.kind, each.probability, each.tokens) for each in graph.targets)
    place = np.cumsum(is_feature) - 1
    source, target, weight = (part.cpu().numpy() for part in (pruned.source, pruned.target, pruned.weight))
    between = is_feature[source] & is_feature[target]
    edges = np.zeros((len(features), len(features)))
    edges[place[target[between]], place[source[between]]] = weight[between]
    read = is_feature[source] & is_target[target]
    weights = np.array([each.weight for each in targets])[np.cumsum(is_target) - 1]
    direct = np.zeros(len(features))
    np.add.at(direct, place[source[read]], np.abs(weight[read]) * weights[target[read]])
    return Circuit(
        token_ids=tuple(graph.input_tokens.tolist()),
        targets=targets,
        features=features,
        activations=pruned.activation.cpu().numpy().astype(float)[is_feature],
        influence=pruned.influence.cpu().numpy().astype(float)[is_feature],
        active=graph.active_features.numpy().astype(np.int64),
        active_activations=graph.activations.numpy().astype(float),
        edges=edges,
        direct=direct,
    )
