"""Why heads look where they do, under the keys that llamascopium and Neuronpedia read at a node.

There a node that reads through attention has `qk_tracing_results`: triples of a query node, a key node and
their part of the score, and pairs of a node and its part for either side alone. Ours are of the head that
brings most to the node of those that were asked. Both tools know nodes only: components that are none of the
graph's (the constant, the remainder, what pruning left out) are in `metadata.info.qk` alone.
"""

from __future__ import annotations

from typing import Any

from pipeline.export.names import node_id
from pipeline.results import StoredGraph


def qk_tracing(graph: StoredGraph, ids: list[str]) -> dict[int, dict[str, list]]:
    """Return each node's results, by its index.

    Args:
        graph: the graph.
        ids: the viewers' name of each of its nodes.

    """
    heads: dict[tuple, list[int]] = {}
    positions = graph.nodes["position"].to_pylist()
    for row in graph.loadings.to_pylist():
        if row["path"] == "head":
            target = int(graph.edges.target[row["edge"]])
            look = (row["head_layer"], row["head"], positions[target], row["key_position"])
            heads.setdefault(look, []).append(target)
    known, found = set(ids), {}
    for rows in graph.looks(graph.qk.num_rows):
        whole = rows[0]
        look = (whole["head_layer"], whole["head"], whole["query_at"], whole["key_at"])
        for target in heads.get(look, []):
            found.setdefault(target, _results(rows, known))
    return found


def _results(rows: list[dict[str, Any]], known: set[str]) -> dict[str, list]:
    named = [(row["part"], _id(row, "query"), _id(row, "key"), row["score"]) for row in rows]
    return {
        "pair_wise_contributors": [
            [query, key, score]
            for part, query, key, score in named
            if part == "pair" and {query, key} <= known
        ],
        "top_q_marginal_contributors": [
            [query, score] for part, query, _, score in named if part == "query" and query in known
        ],
        "top_k_marginal_contributors": [
            [key, score] for part, _, key, score in named if part == "key" and key in known
        ],
    }


def _id(row: dict[str, Any], side: str) -> str | None:
    """Return the viewers' name of a component, or None of what is no node."""
    if row[f"{side}_kind"] not in ("feature", "error", "token"):
        return None
    names = ("kind", "layer", "position", "feature", "token_id")
    return node_id({name: row[f"{side}_{name}"] for name in names})
