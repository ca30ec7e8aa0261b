"""The picture of a graph that was just traced, which notebooks show."""

from __future__ import annotations

from pipeline.graph.attribution_graph import AttributionGraph, NodeKind, PrunedGraph
from pipeline.graph.pruning import prune
from pipeline.picture import GraphPicture


def picture_of(graph: AttributionGraph, pruned: PrunedGraph | None = None) -> GraphPicture:
    """Return the picture of a pruned graph, by default pruned as a sweep prunes."""
    pruned = prune(graph) if pruned is None else pruned
    kinds = [NodeKind(kind) for kind in pruned.kind.tolist()]
    targets = {target.token_id: target for target in graph.targets}
    names = []
    for kind, layer, position, feature in zip(
        kinds, pruned.layer.tolist(), pruned.position.tolist(), pruned.feature.tolist(), strict=True
    ):
        if kind is NodeKind.LOGIT:
            target = targets[feature]
            names.append(f"{target.label.strip()} {target.probability:.3f}")
        else:
            names.append(graph.token_strings[position] if kind is NodeKind.TOKEN else f"{layer}/{feature}")
    return GraphPicture(
        text=graph.prompt,
        n_layers=graph.n_layers,
        tokens=graph.token_strings,
        kinds=[kind.label for kind in kinds],
        layers=pruned.layer.tolist(),
        positions=pruned.position.tolist(),
        names=names,
        source=pruned.source.tolist(),
        target=pruned.target.tolist(),
        weight=pruned.weight.tolist(),
        influence=pruned.edge_influence.tolist(),
    )


def _repr_html_(graph: AttributionGraph) -> str:
    return picture_of(graph).svg()


# Given here, since pruning needs the class: a method that prunes would close a circle of imports.
AttributionGraph._repr_html_ = _repr_html_
