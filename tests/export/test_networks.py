from __future__ import annotations

from pathlib import Path

import networkx
import pytest

from pipeline import Results
from pipeline.export.networks import to_networkx, write_graphml
from pipeline.results.stored_graph import StoredGraph, read_graph


@pytest.fixture
def graph(results: Results) -> StoredGraph:
    return read_graph(results, "prompt-3")


def test_it_holds_every_row(graph: StoredGraph) -> None:
    network = to_networkx(graph)
    rows = graph.nodes.to_pylist()
    assert [tuple(d[n] for n in ("kind", "layer", "feature")) for _, d in network.nodes(data=True)] == [
        (row["kind"], row["layer"], row["feature"]) for row in rows
    ]
    assert network.number_of_edges() == graph.prompt["kept_edges"]
    total = sum(influence for *_, influence in network.edges(data="influence"))
    assert total == pytest.approx(float(graph.scores.sum()))


def test_graphml_comes_back(graph: StoredGraph, tmp_path: Path) -> None:
    graph.prompt["tokens"][0], graph.prompt["text"] = "<\x00bos>", "a\x1bb & \ud800<c>"
    write_graphml(graph, tmp_path / "g.graphml")
    network, back = to_networkx(graph), networkx.read_graphml(tmp_path / "g.graphml")
    assert back.graph["prompt"] == "a\ufffdb & \ufffd<c>"
    assert set(back.nodes) == set(network.nodes)
    for source, target, data in network.edges(data=True):
        assert back.edges[source, target]["weight"] == data["weight"]
    assert (
        back.nodes[next(iter(network.nodes))]["activation"]
        == next(iter(network.nodes(data=True)))[1]["activation"]
    )
