"""`/api/circuit`: the graphs of several prompts as one, positions collapsed, packed.

A prompt's edges between the same two ends, at whatever positions, are one edge whose weight and influence are
their sums; over prompts, `support` counts those that have it, `weight` is their mean, and `score` the sum of
influence. Of up to 200 chosen prompts it is made at once from `edges`; of a whole group, from `edge_stats`.
"""

from __future__ import annotations

from http import HTTPStatus
from shlex import quote
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.viewer.answers.feature import token_texts
from pipeline.viewer.answers.graph import KINDS
from pipeline.viewer.answers.prompts import filters, shown
from pipeline.viewer.asked import Asked, listed, literal
from pipeline.viewer.packed import Packed
from pipeline.viewer.questions import RefusedError

EDGES = 5000
"""Strongest edges that are sent."""

PROMPTS = 200
"""Most prompts whose graphs are put together while somebody waits."""

ENDS = ("kind", "layer", "feature", "token_id")
"""Columns of an end; positions are collapsed."""

BOTH = ", ".join(f"{side}_{name}" for side in ("source", "target") for name in ENDS)

FROM_EDGES = """
with collapsed as (
    select prompt_key, {both}, sum(weight::double) as weight, sum(influence::double) as influence
    from edges where prompt_key in {keys} group by all
)
select {both}, count(*) as support, avg(weight) as weight, sum(influence) as score,
       greatest(count(*) filter (weight > 0), count(*) filter (weight < 0)) / count(*) as sign_consistency
from collapsed group by {both}
"""

FROM_STATS = """
select {both}, support, weight_mean as weight, influence_sum as score, sign_consistency
from edge_stats where prompt_group = {label}
"""

OF_PROMPTS = """
select kind, layer, feature, token_id, count(distinct prompt_key) as support,
       sum(influence::double) as influence, avg(position_from_end) as from_end
from nodes where {chosen} group by kind, layer, feature, token_id
"""


def circuit(asked: Asked) -> Packed:
    """Return the circuit of chosen prompts, or of a group that `aggregate` counted."""
    label = asked.question.text("label")
    if label and asked.has("edge_stats"):
        return _of_group(asked, label)
    keys = _chosen(asked, label)
    edges = FROM_EDGES.format(both=BOTH, keys=listed(keys))
    return _packed(asked, edges, f"prompt_key in {listed(keys)}", len(keys), {"source": "edges"})


def _of_group(asked: Asked, label: str) -> Packed:
    groups = asked.rows("select prompt_group, max(prompts) as n from edge_stats group by all order by all")
    counts = {row["prompt_group"]: row["n"] for row in groups}
    if label not in counts:
        raise RefusedError(
            f"label={label[:60]!r} is no group of `edge_stats`.",
            f"There are {', '.join(counts)}.",
            HTTPStatus.NOT_FOUND,
        )
    grouped_by = asked.row("select any_value(grouped_by) as g from edge_stats")["g"]
    columns = asked.results.snapshot.schemas["graphs"].names
    chosen = "true"
    if grouped_by in columns:
        column = grouped_by.replace('"', '""')
        chosen = f'prompt_key in (select prompt_key from graphs where "{column}"::varchar = {literal(label)})'
    edges = FROM_STATS.format(both=BOTH, label=literal(label))
    said = {"source": "edge_stats", "grouped_by": grouped_by, "groups": list(counts)}
    return _packed(asked, edges, chosen, counts[label], said)


def _chosen(asked: Asked, label: str) -> list[int]:
    """Return the keys of the prompts that are asked for, by name or by a filter."""
    names = asked.question.texts("keys")
    conditions = [f"({condition})" for condition in filters(asked)]
    if names:
        conditions.append(
            f"(id in ({', '.join(map(literal, names))}) or prompt_key::varchar in "
            f"({', '.join(map(literal, names))}))"
        )
    if label:
        family = asked.family()
        if family is None:
            raise _too_many(asked, "there is no column `family`, and no `edge_stats`")
        conditions.append(f"coalesce(\"{family}\"::varchar, '') = {literal(label)}")
    where = " and ".join(conditions) or "true"
    rows = asked.rows(
        f"select prompt_key from {shown(asked)} shown where {where} order by id limit {PROMPTS + 1}"
    )
    if not rows:
        raise RefusedError("no prompt is chosen by this.", status=HTTPStatus.NOT_FOUND)
    if len(rows) > PROMPTS:
        raise _too_many(asked, f"these are more than {PROMPTS} prompts")
    return [row["prompt_key"] for row in rows]


def _too_many(asked: Asked, reason: str) -> RefusedError:
    command = f"circuit-sweep aggregate {quote(asked.viewer.url)} --by family"
    return RefusedError(
        f"{reason}: their graphs are not put together while you wait.",
        f"`{command}` does that once for every group; or choose fewer prompts.",
        command=command,
    )


def _packed(asked: Asked, edges: str, chosen: str, prompts: int, said: dict[str, Any]) -> Packed:
    total = asked.row(f"select count(*) as n, coalesce(sum(score), 0) as score from ({edges})")
    rows = asked.table(f"select * from ({edges}) order by score desc, {BOTH} limit {EDGES}")
    ends, source, target = _ends(rows)
    known = {_name(row): row for row in asked.rows(OF_PROMPTS.format(chosen=chosen))}
    nodes = [known.get(name, {"support": 0, "influence": 0.0, "from_end": 0.0}) for name in ends]
    texts = token_texts(asked, [name[3] for name in ends if name[3] is not None])
    score = rows["score"].to_numpy()
    header = {
        **said,
        "counts": {
            "prompts": prompts,
            "edges": total["n"],
            "edges_sent": rows.num_rows,
            "score": total["score"],
            "score_sent": float(score.sum()),
            "nodes": len(ends),
        },
        "tokens": texts,
        "kinds": list(KINDS),
    }
    return Packed(header, _node_arrays(ends, nodes) | _edge_arrays(rows, source, target, total["score"]))


def _name(row: dict[str, Any]) -> tuple:
    return tuple(row[name] for name in ENDS)


def _ends(rows: pa.Table) -> tuple[list[tuple], np.ndarray, np.ndarray]:
    """Return the ends of edges, each once and in order, and each edge's source and target among them."""
    sides = [
        list(zip(*(rows[f"{side}_{name}"].to_pylist() for name in ENDS), strict=True))
        for side in ("source", "target")
    ]

    def place(end: tuple) -> tuple:
        return KINDS[end[0]], *((part is None, part or 0) for part in end[1:])

    order = sorted({*sides[0], *sides[1]}, key=place)
    index = {name: i for i, name in enumerate(order)}
    return order, *(np.array([index[name] for name in side], np.uint32) for side in sides)


def _node_arrays(ends: list[tuple], nodes: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {
        "kind": np.array([KINDS[kind] for kind, *_ in ends], np.uint8),
        "layer": np.array([-1 if layer is None else layer for _, layer, _, _ in ends], np.int32),
        "feature": np.array([f if f is not None else t or 0 for _, _, f, t in ends], np.uint32),
        "support": np.array([node["support"] for node in nodes], np.uint32),
        "influence": np.array([node["influence"] for node in nodes], np.float32),
        "from_end": np.array([node["from_end"] for node in nodes], np.float32),
    }


def _edge_arrays(
    rows: pa.Table, source: np.ndarray, target: np.ndarray, whole: float
) -> dict[str, np.ndarray]:
    score = rows["score"].to_numpy()
    return {
        "source": source,
        "target": target,
        "weight": rows["weight"].to_numpy().astype(np.float32),
        "score": score.astype(np.float32),
        "edge_support": rows["support"].to_numpy().astype(np.uint32),
        "sign_consistency": rows["sign_consistency"].to_numpy().astype(np.float32),
        "edge_cumulative": (np.cumsum(score) / (whole or 1.0)).astype(np.float32),
    }
