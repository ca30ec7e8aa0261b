"""A stored graph for graph tools: NetworkX in memory, GraphML in a file (for Gephi, Cytoscape, igraph)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.export.graph_json import node_label
from pipeline.export.names import node_id
from pipeline.results import StoredGraph
from pipeline.store import FeatureLabel

if TYPE_CHECKING:
    import networkx

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that tokens may hold and XML may not."""


def to_networkx(graph: StoredGraph, labels: Mapping[str, FeatureLabel] | None = None) -> networkx.DiGraph:
    """Return the kept nodes and edges: nodes named as in the JSON, with their columns and a label.

    Args:
        graph: the graph.
        labels: label of each feature or node that has one, by its name: `meaning` of the node.

    """
    import networkx

    network = networkx.DiGraph(prompt_id=graph.prompt["id"], prompt=graph.prompt["text"])
    nodes = graph.nodes.drop_columns(["prompt_key", "id"]).to_pylist()
    ids = [node_id(node) for node in nodes]
    for index, (id, node) in enumerate(zip(ids, nodes, strict=True)):
        network.add_node(id, **node, label=graph.label(index))
        if node["kind"] == "feature" and (meaning := node_label(labels or {}, node)):
            network.nodes[id]["meaning"] = meaning
    edges = graph.edges
    columns = (edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), graph.scores.tolist())
    for source, target, weight, influence in zip(*columns, strict=True):
        network.add_edge(ids[source], ids[target], weight=weight, influence=influence)
    return network


def write_graphml(graph: StoredGraph, path: Path, labels: Mapping[str, FeatureLabel] | None = None) -> None:
    """Write a graph as GraphML; characters that XML cannot hold become �."""
    import networkx

    network = to_networkx(graph, labels)
    for attributes in (network.graph, *(attributes for _, attributes in network.nodes(data=True))):
        for name, value in list(attributes.items()):
            if isinstance(value, str):
                attributes[name] = NOT_XML.sub("\ufffd", value)
            elif value is None:
                del attributes[name]  # GraphML says null by leaving out
    # Every column has one type already, so there is none to infer from all values.
    networkx.write_graphml(network, path, infer_numeric_types=False)
