from __future__ import annotations

import json
from typing import Any

import pyarrow.compute as pc
import pytest

from pipeline import Results
from pipeline.export.graph_json import graph_document
from pipeline.export.names import node_id
from pipeline.results.stored_graph import StoredGraph, read_graph
from pipeline.store.output import Output
from tests.support.exported import RUN, check


@pytest.fixture(params=["random_output", "demo_output"])
def graph(request: pytest.FixtureRequest) -> StoredGraph:
    output: Output = request.getfixturevalue(request.param)
    return read_graph(Results(output), "prompt-3" if request.param == "random_output" else "p0")


@pytest.fixture
def document(graph: StoredGraph) -> dict[str, Any]:
    text = json.dumps(graph_document(graph, RUN, "a-slug", "org-set", "features/org-set"), allow_nan=False)
    return json.loads(text)


def test_it_is_what_viewers_read(document: dict[str, Any]) -> None:
    check("attribution_graph", document)


def parsed(document: dict[str, Any]) -> dict[str, tuple]:
    """Read the nodes back, by the rules that viewers know, to the columns of `nodes`."""
    kinds = {"cross layer transcoder": "feature", "mlp reconstruction error": "error", "embedding": "token"}
    nodes = {}
    for node in document["nodes"]:
        kind = kinds.get(node["feature_type"], "logit")
        first, middle, position = node["node_id"].split("_")
        layer = {"E": -1}.get(first) or (-1 if first == "E" else int(first) - (kind == "logit"))
        activation = node["token_prob"] if kind == "logit" else node["activation"]
        nodes[node["node_id"]] = (kind, layer, int(position), int(middle), activation, node["influence"])
    return nodes


def test_the_graph_comes_back_from_it(graph: StoredGraph, document: dict[str, Any]) -> None:
    nodes = parsed(document)
    columns = ("kind", "layer", "position", "number", "activation", "cumulative_influence")
    # The viewers' format has no nulls in a node's name.
    numbers = (
        pc.coalesce(graph.nodes["feature"], graph.nodes["token_id"], -1),
        graph.nodes["layer"].fill_null(-1),
    )
    rows = graph.nodes.append_column("number", numbers[0])
    rows = rows.set_column(rows.column_names.index("layer"), "layer", numbers[1])
    stored = [tuple(row[name] for name in columns) for row in rows.to_pylist()]
    stored = [(*row[:5], None) if row[0] == "logit" else row for row in stored]
    assert list(nodes.values()) == stored
    links = [(nodes[link["source"]], nodes[link["target"]], link["weight"]) for link in document["links"]]
    edges = graph.edges
    ends = zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True)
    assert links == [(stored[source], stored[target], weight) for source, target, weight in ends]
    assert len(links) == graph.prompt["kept_edges"]


def test_ids_differ_and_numbers_name_features(document: dict[str, Any]) -> None:
    nodes = document["nodes"]
    assert len({node["node_id"] for node in nodes}) == len({node["jsNodeId"] for node in nodes}) == len(nodes)
    for node in nodes:
        if node["feature_type"] == "cross layer transcoder":
            layer, feature, _ = map(int, node["node_id"].split("_"))
            assert node["feature"] == (layer + feature) * (layer + feature + 1) // 2 + feature
            assert node["layer"] == str(layer)


def test_targets_say_what_they_predict(graph: StoredGraph, document: dict[str, Any]) -> None:
    logits = [node for node in document["nodes"] if node["feature_type"] == "logit"]
    best = graph.prompt["targets"][0]
    (target,) = [node for node in logits if node["is_target_logit"]]
    (row,) = [row for row in graph.nodes.to_pylist() if row["target_index"] == 0]
    assert [target["feature"]] == [row["token_id"]] == best["token_ids"]
    assert target["token_prob"] == row["activation"]
    assert target["clerp"] == f'Output "{best["label"]}" (p={row["activation"]:.3f})'
    assert {node["ctx_idx"] for node in logits} == {graph.prompt["positions"] - 1}


def test_influence_is_the_cumulative_share(graph: StoredGraph, document: dict[str, Any]) -> None:
    shares = {node["node_id"]: node["influence"] for node in document["nodes"]}
    rows = [row for row in graph.nodes.to_pylist() if row["kind"] == "feature"]
    assert [shares[f"{r['layer']}_{r['feature']}_{r['position']}"] for r in rows] == [
        row["cumulative_influence"] for row in rows
    ]


def test_a_cap_that_was_not_set_is_left_out(graph: StoredGraph, document: dict[str, Any]) -> None:
    """Neuronpedia refuses a null where it wants a number."""
    assert document["metadata"]["generation_settings"] == {"max_n_logits": 10, "desired_logit_prob": 0.95}
    capped = RUN | {"attribution": RUN["attribution"] | {"max_feature_nodes": 7}}
    again = graph_document(graph, capped, "a-slug", "org-set")
    check("attribution_graph", again)
    assert again["metadata"]["generation_settings"]["max_feature_nodes"] == 7


def test_supernodes_are_shown_together(graph: StoredGraph) -> None:
    features = [node for node in graph.nodes.to_pylist() if node["kind"] == "feature"]
    first, second = list(dict.fromkeys((node["layer"], node["feature"]) for node in features))[:2]
    supernodes = {first: "supernode 0: Texas", second: "supernode 0: Texas", (99, 1): "elsewhere"}
    document = graph_document(graph, RUN, "a-slug", "org-set", None, supernodes)
    check("attribution_graph", document)
    expected = [
        f"{node['layer']}_{node['feature']}_{node['position']}"
        for node in features
        if (node["layer"], node["feature"]) in (first, second)
    ]
    assert document["qParams"]["supernodes"] == [["supernode 0: Texas", *expected]]
    assert document["qParams"]["pinnedIds"] == expected
    assert set(expected) <= {node["node_id"] for node in document["nodes"]}


def test_where_a_folder_lies_is_nobodys_business(graph: StoredGraph) -> None:
    here = {"name": "/home/me/secret-project/model", "content": "a hash"}
    info = graph_document(graph, RUN | {"model": here}, "a-slug", "org-set")["metadata"]["info"]
    assert (info["model"], info["transcoders"]) == ("model", "org/some set@main")


def test_nodes_say_why_their_head_looked(graph: StoredGraph, document: dict[str, Any]) -> None:
    """Under the keys of llamascopium and Neuronpedia, which know nodes of the graph only."""
    info = document["metadata"]["info"]["qk"]
    assert len(info) == graph.qk.num_rows > 0
    ids = {node["node_id"]: node for node in document["nodes"]}
    asked = [node for node in document["nodes"] if "qk_tracing_results" in node]
    stored = {part: set() for part in ("pair", "query", "key")}
    for row in graph.qk.to_pylist():
        named = []
        for side in ("query", "key"):
            names = ("kind", "layer", "position", "feature", "token_id")
            component = {name: row[f"{side}_{name}"] for name in names}
            known = component["kind"] in ("feature", "error", "token")
            named.append(node_id(component) if known else component["kind"])
        if row["part"] != "score":
            stored[row["part"]].add((*named, row["score"]))
    for node in asked:
        results = node["qk_tracing_results"]
        pairs = set(map(tuple, results["pair_wise_contributors"]))
        assert {name for *names, _ in pairs for name in names} <= ids.keys()
        assert pairs <= stored["pair"]
        of_query, of_key = (results[f"top_{side}_marginal_contributors"] for side in "qk")
        assert {(name, "whole", score) for name, score in of_query} <= stored["query"]
        assert {("whole", name, score) for name, score in of_key} <= stored["key"]
    if graph.prompt["id"] == "p0":
        assert any(node["qk_tracing_results"]["pair_wise_contributors"] for node in asked)
