"""Why heads look where they do, as `circuit-sweep show` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.features import FeatureName
from pipeline.token_labels import token_label

if TYPE_CHECKING:
    from pipeline.results import StoredGraph
    from pipeline.untrusted import Console

PAIRS_SHOWN = 3
"""Pairs that are shown of a score, those of the largest contrast."""


def print_looks(console: Console, graph: StoredGraph, count: int) -> None:
    """Print the heads that were asked, each with its score and the pairs that set its key apart."""
    from rich.table import Table
    from rich.text import Text

    looks = graph.looks(count)
    if not looks:
        return
    table = Table("head", "looks", "attention", "score", "above others", "because of (query · key)")
    for rows in looks:
        whole = rows[0]
        pairs = [row for row in rows if row["part"] == "pair" and row["query_kind"] != "other"]
        pairs.sort(key=lambda row: -abs(row["score"] if row["contrast"] is None else row["contrast"]))
        table.add_row(
            f"{whole['head_layer']}.{whole['head']}",
            Text(f"{_token(graph, whole['query_at'])} → {_token(graph, whole['key_at'])}"),
            f"{whole['attention']:.2f}",
            f"{whole['score']:.2f}",
            "" if whole["contrast"] is None else f"{whole['contrast']:+.2f}",
            Text("\n".join(_pair(graph, row) for row in pairs[:PAIRS_SHOWN])),
        )
    console.print(table)


def _pair(graph: StoredGraph, row: dict[str, Any]) -> str:
    amount = row["score"] if row["contrast"] is None else row["contrast"]
    return f"{amount:+.2f} {_component(graph, row, 'query')} · {_component(graph, row, 'key')}"


def _component(graph: StoredGraph, row: dict[str, Any], side: str) -> str:
    layer, position = row[f"{side}_layer"], row[f"{side}_position"]
    match row[f"{side}_kind"]:
        case "feature":
            return str(FeatureName(layer, row[f"{side}_feature"], position))
        case "error":
            return f"error {layer}@{position}"
        case "token":
            return _token(graph, position)
    return row[f"{side}_kind"]


def _token(graph: StoredGraph, position: int) -> str:
    return f"{token_label(graph.prompt['tokens'][position])}@{position}"
