"""Documents that are cut to a size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import Results
from pipeline.errors import ConfigurationError
from pipeline.export.graph_json import graph_document
from pipeline.export.size import cut, encoded
from pipeline.results.stored_graph import read_graph
from tests.support.exported import RUN, check


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_the_strongest_links_that_fit_are_kept(results: Results, share: float) -> None:
    graph = read_graph(results, "prompt-3")
    (first, *_) = {(n["layer"], n["feature"]) for n in graph.nodes.to_pylist() if n["kind"] == "feature"}
    whole = graph_document(graph, RUN, "a-slug", "org-set", None, {first: "one"})
    most = int(share * len(encoded(whole)))
    small = cut(whole, graph.scores, most)
    check("attribution_graph", json.loads(encoded(small)))
    assert most - 1000 < len(encoded(small)) <= most
    names = [(link["source"], link["target"]) for link in whole["links"]]
    kept = {(link["source"], link["target"]) for link in small["links"]}
    stays = np.array([name in kept for name in names])
    assert graph.scores[stays].min() >= graph.scores[~stays].max()
    ends = {end for pair in kept for end in pair}
    there = {node["node_id"]: node["feature_type"] for node in small["nodes"]}
    assert ends <= there.keys()
    assert {kind for id, kind in there.items() if id not in ends} <= {"embedding", "logit"}
    info = small["metadata"]["info"]
    assert info["links_left_out"] == len(whole["links"]) - len(small["links"])
    assert info["influence_left_out"] == pytest.approx(
        graph.scores[~stays].sum() / graph.scores.sum(), rel=1e-4
    )
    assert whole == graph_document(graph, RUN, "a-slug", "org-set", None, {first: "one"})


def test_a_size_without_room_for_a_link_is_refused(results: Results) -> None:
    graph = read_graph(results, "prompt-3")
    with pytest.raises(ConfigurationError, match="a-slug has no room"):
        cut(graph_document(graph, RUN, "a-slug", "org-set"), graph.scores, 1000)
