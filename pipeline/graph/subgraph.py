"""Scores of any part of a graph: as if the features that are left out were errors.

As for a pruned graph: what a left-out feature sends is added, with its sign, to the error at its layer and
position, so that the sum of a node's inputs stays what it is. All features give the graph's own scores, those
that pruning kept the pruned graph's, and none what tokens and errors alone explain.
"""

from __future__ import annotations

from collections.abc import Collection

from pipeline.errors import ConfigurationError
from pipeline.graph.attribution_graph import AttributionGraph
from pipeline.graph.influence import scores
from pipeline.graph.pruning import with_removed_as_errors

FEATURES_NAMED = 5
"""Features that a message names."""


def subgraph_scores(
    graph: AttributionGraph, features: Collection[tuple[int, int, int]]
) -> tuple[float, float]:
    """Return (replacement, completeness) of a part of a graph, each 0 to 1; tokens and targets always stay.

    Args:
        graph: the whole graph.
        features: (layer, position, feature) of the features to keep.

    Raises:
        ConfigurationError: one of them is not active on the prompt, or has no row.

    """
    nodes = graph.node_index()
    names = map(tuple, graph.active_features[graph.expanded].tolist())
    number = {name: index for index, name in enumerate(names)}
    if missing := sorted({tuple(name) for name in features} - number.keys()):
        shown = ", ".join(f"{layer}/{feature}@{at}" for layer, at, feature in missing[:FEATURES_NAMED])
        raise ConfigurationError(
            f"{len(missing):,} features are no nodes of the graph of {graph.prompt!r:.60}, since they are "
            f"not active there or have no row: {shown}. Name features that are, such as {_example(graph)}."
        )
    keep = graph.edges.sources.tokens.new_ones(nodes.count).bool()
    keep[: nodes.first_error] = False
    keep[[number[tuple(name)] for name in features]] = True
    weights = graph.target_probabilities.to(graph.edges.device)
    return scores(*with_removed_as_errors(graph.edges, nodes, keep, weights))


def _example(graph: AttributionGraph) -> str:
    if not len(graph.expanded):
        return "none: it has no features"
    layer, position, feature = graph.active_features[graph.expanded[-1]].tolist()
    return f"{layer}/{feature}@{position}"
