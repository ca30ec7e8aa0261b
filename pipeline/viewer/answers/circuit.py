"""`/api/circuit`: the graphs of several prompts as one, positions collapsed.

A prompt's edges between the same two ends, at whatever positions, are one edge whose weight and influence are
their sums; over prompts, `support` counts those that have it, `weight` is their mean, and `score` the sum of
influence. Of up to 200 chosen prompts it is made at once from `edges`; of a whole group, from `edge_stats`.
"""

from __future__ import annotations

from http import HTTPStatus
from shlex import quote
from typing import Any

from pipeline.viewer.answers.discovered import discovered
from pipeline.viewer.answers.feature import token_texts
from pipeline.viewer.answers.graph import KINDS, layer_count
from pipeline.viewer.answers.prompts import filters, shown, words
from pipeline.viewer.asked import Asked, literal
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
    from edges {chosen} group by all
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
from nodes {chosen} group by kind, layer, feature, token_id
"""


def circuit(asked: Asked) -> dict[str, Any]:
    """Return the circuit of chosen prompts, of a counted group, or one that `discover` found."""
    if name := asked.question.text("circuit"):
        return discovered(asked, name)
    label = asked.question.text("label")
    if label and asked.has("edge_stats"):
        return _of_group(asked, label)
    keys = _chosen(asked, label)
    # A join's few keys reach the reader of the file, those of `in` do not: a third of the time.
    chosen = f"semi join (values {', '.join(f'({key})' for key in keys)}) t(prompt_key) using (prompt_key)"
    edges = FROM_EDGES.format(both=BOTH, chosen=chosen)
    return _found(
        asked,
        edges,
        chosen,
        len(keys),
        {"from": "edges", "label": label or None, "group": asked.family()},
    )


def _of_group(asked: Asked, label: str) -> dict[str, Any]:
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
    chosen = ""
    if grouped_by in columns:
        column = grouped_by.replace('"', '""')
        of_label = f'select prompt_key from graphs where "{column}"::varchar = {literal(label)}'
        chosen = f"semi join ({of_label}) using (prompt_key)"
    edges = FROM_STATS.format(both=BOTH, label=literal(label))
    group = grouped_by if grouped_by in columns else None
    said = {"from": "edge_stats", "label": label, "group": group, "grouped_by": grouped_by}
    return _found(asked, edges, chosen, counts[label], said)


def _chosen(asked: Asked, label: str) -> list[int]:
    """Return the keys of the prompts that are asked for, by name or by a filter."""
    names = [name for given in asked.question.texts("keys") for name in (given, *given.split(","))]
    conditions = [f"({condition})" for condition in filters(asked)]
    if names:
        conditions.append(
            f"(id in ({', '.join(map(literal, names))}) or prompt_key::varchar in "
            f"({', '.join(map(literal, names))}))"
        )
    if feature := asked.question.text("feature"):
        conditions += [f"({condition})" for condition in words(asked, feature)]
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


def _found(asked: Asked, edges: str, chosen: str, prompts: int, said: dict[str, Any]) -> dict[str, Any]:
    rows = asked.rows(
        f"select *, count(*) over () as total, sum(score) over () as whole from ({edges}) "
        f"order by score desc, {BOTH} limit {EDGES}"
    )
    sides = [[_end(row, side) for row in rows] for side in ("source", "target")]
    ends = sorted({*sides[0], *sides[1]}, key=_place)
    index = {end: number for number, end in enumerate(ends)}
    known = {_end(row): row for row in asked.rows(OF_PROMPTS.format(chosen=chosen))}
    texts = token_texts(asked, [end[3] for end in ends if end[3] is not None])
    return {
        **said,
        "prompts": prompts,
        "layers": layer_count(asked),
        "total_edges": rows[0]["total"] if rows else 0,
        "total_score": rows[0]["whole"] if rows else 0.0,
        "nodes": [_node(end, known.get(end), texts, prompts) for end in ends],
        "edges": [
            {
                "source": index[source],
                "target": index[target],
                "weight": row["weight"],
                "score": row["score"],
                "support": row["support"],
                "share": row["support"] / prompts,
                "sign": row["sign_consistency"],
            }
            for row, source, target in zip(rows, *sides, strict=True)
        ],
    }


def _end(row: dict[str, Any], side: str = "") -> tuple:
    """Return what names a node when positions are collapsed."""
    return tuple(row[f"{side}_{name}" if side else name] for name in ENDS)


def _place(end: tuple) -> tuple:
    return KINDS[end[0]], *((part is None, part or 0) for part in end[1:])


def _node(end: tuple, known: dict[str, Any] | None, texts: dict[int, str], prompts: int) -> dict[str, Any]:
    kind, layer, feature, token_id = end
    return {
        "kind": KINDS[kind],
        "layer": layer,
        "feature": feature if feature is not None else token_id,
        "label": texts.get(token_id),
        "support": known["support"] if known else None,
        "share": known["support"] / prompts if known else None,
        "influence": known["influence"] if known else 0.0,
        "from_end": known["from_end"] if known else None,
    }
