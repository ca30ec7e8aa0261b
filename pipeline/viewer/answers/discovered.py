"""`/api/circuits`: the circuits that `discover` found, and one of them in the shape of `/api/circuit`."""

from __future__ import annotations

from http import HTTPStatus
from shlex import quote
from typing import Any

from pipeline.viewer.answers.graph import KINDS, layer_count
from pipeline.viewer.asked import Asked, literal
from pipeline.viewer.questions import RefusedError

ROLES = ("opening", "other", "repeated", "earlier", "after_earlier", "subject", "last")
"""Roles of positions in the order of the drawing's columns."""

SHOWN = 300
"""Circuits that are listed."""

LISTED = """
select circuit, prompt_group, name, nodes, supernodes, edges, prompts, clusters, share, similarity, {tested}
from circuits c order by prompt_group, clusters desc, circuit limit {shown}
"""

TESTED = """
(select {{'value': value, 'low': low, 'high': high, 'clusters': clusters}} from circuit_tests t
 where t.circuit = c.circuit and test = '{test}' and mode = 'default' and against is null limit 1) as {test}
"""

ENDS = ("kind", "layer", "feature", "role")


def circuits(asked: Asked) -> dict[str, Any]:
    """Return the circuits that were found, with what tests on other prompts said of them."""
    command = f"circuit-sweep discover {quote(asked.viewer.url)} --by {asked.family() or 'COLUMN'}"
    if not asked.has("circuits"):
        return {"rows": [], "command": command}
    tests = ("necessity", "sufficiency")
    tested = ", ".join(
        TESTED.format(test=test) if asked.has("circuit_tests") else f"null as {test}" for test in tests
    )
    return {"rows": asked.rows(LISTED.format(tested=tested, shown=SHOWN)), "command": command}


def discovered(asked: Asked, name: str) -> dict[str, Any]:
    """Return one circuit: roles are its places, an edge's weight is its share of the influence with its sign.

    Raises:
        RefusedError: there is none of this name.

    """
    here = f"circuit = {literal(name)}"
    found = asked.rows(f"select * from circuits where {here}") if asked.has("circuits") else []
    if not found:
        raise RefusedError(
            f"no circuit is called {name[:60]!r}.", "The page Circuits lists them.", HTTPStatus.NOT_FOUND
        )
    nodes = asked.rows(
        f"select *, kind::varchar as kind from circuit_nodes where {here} order by kind, layer, feature, role"
    )
    edges = asked.rows(
        f"select *, source_kind::varchar as source_kind, target_kind::varchar as target_kind "
        f"from circuit_edges where {here} order by share desc, {_both()}"
    )
    index = {tuple(node[name] for name in ENDS): number for number, node in enumerate(nodes)}
    # Roles of somebody's own come first.
    used = sorted(
        {node["role"] for node in nodes}, key=lambda role: (ROLES.index(role) if role in ROLES else -1, role)
    )
    return {
        "from": "discover",
        "label": name,
        "group": found[0]["grouped_by"],
        "prompts": found[0]["prompts"],
        "clusters": found[0]["clusters"],
        "layers": layer_count(asked),
        "places": {str(len(used) - 1 - place): role for place, role in enumerate(used)},
        "total_edges": len(edges),
        "total_score": sum(edge["share"] for edge in edges),
        "nodes": [_node(node, len(used) - 1 - used.index(node["role"])) for node in nodes],
        "edges": [
            {
                "source": index[tuple(edge[f"source_{name}"] for name in ENDS)],
                "target": index[tuple(edge[f"target_{name}"] for name in ENDS)],
                "weight": edge["sign"] * edge["share"],
                "score": edge["share"],
                "support": None,
                "share": edge["support"],
                "sign": edge["sign_consistency"],
            }
            for edge in edges
        ],
    }


def _both() -> str:
    return ", ".join(f"{side}_{name}" for side in ("source", "target") for name in ENDS)


def _node(node: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        "kind": KINDS[node["kind"]],
        "layer": node["layer"],
        "feature": node["feature"],
        "label": "target" if node["kind"] == "logit" else None,
        "supernode": node["supernode_name"],
        "support": None,
        "share": node["support"],
        "influence": node["share"],
        "from_end": place,
    }
